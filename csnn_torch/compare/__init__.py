"""Compares csnn_jax with snnTorch: is it the same network and the same training, and what does each cost?"""
