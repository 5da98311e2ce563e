"""Checks whether a network is healthy during training, and suggests what to try if it isn't. NumPy only."""
