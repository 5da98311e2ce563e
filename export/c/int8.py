"""Weights of 8 bits for the C program: whole numbers from -127 to 127, and one scale for each output channel."""

from typing import NamedTuple

import numpy as np


class Quantised(NamedTuple):
    """A layer's weights, which are `weight` times the `scale` of their output channel.

    Attributes:
        weight: int8 in torch's layout, [out, in, k, k] or [out, in].
        scale: float32 [out].
    """

    weight: np.ndarray
    scale: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The weights that they stand for, float32."""
        return self.weight.astype(np.float32) * _beside(self.scale, self.weight)


def quantise(weight: np.ndarray) -> Quantised:
    """The nearest weights of 8 bits, with the largest of every output channel at 127 or -127.

    Args:
        weight: float32 [out, ...].
    """
    largest = np.abs(weight).reshape(len(weight), -1).max(1).astype(np.float32)
    scale = np.where(largest > 0, largest / np.float32(127), np.float32(1)).astype(np.float32)
    return Quantised(np.rint(weight / _beside(scale, weight)).clip(-127, 127).astype(np.int8), scale)


def _beside(scale: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return scale.reshape(-1, *[1] * (weight.ndim - 1))
