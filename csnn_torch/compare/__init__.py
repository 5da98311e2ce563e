"""Compares csnn_jax with snnTorch: same network, same training, and what does each cost?"""
