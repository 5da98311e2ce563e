"""What a network takes in, for callers who bring arrays of their own."""

import numpy as np

from csnn_jax.config import ModelConfig


def check_floats(images: np.ndarray, config: ModelConfig, name: str) -> None:
    """Raises ValueError unless floats are what the network takes; says what they are.

    A pixel's floats go from 0 to 1. Counts, of which 1 means 1.0, may also be whole numbers from 0 on.
    """
    low, high = float(np.min(images)), float(np.max(images))
    if low >= 0 and high <= 1:
        return
    counts = config.pixel_scale == 1
    if counts and low >= 0 and np.isfinite(high) and (images == np.floor(images)).all():
        return
    expected = "whole numbers from 0 on, or floats from 0 to 1" if counts else "floats from 0 to 1, or uint8"
    raise ValueError(f"{name} from {low:g} to {high:g}, expected {expected}")
