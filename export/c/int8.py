"""Weights of 8 bits for the C program: whole numbers from -127 to 127, and a power of two for each output channel."""

from typing import NamedTuple

import numpy as np

from csnn_jax.config.grid import SMALLEST


class Quantised(NamedTuple):
    """A layer's weights, which are `weight` times the `scale` of their output channel.

    Attributes:
        weight: int8 in torch's layout, [out, in, k, k] or [out, in].
        scale: float32 [out], powers of two.
    """

    weight: np.ndarray
    scale: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The weights that they stand for, float32."""
        return self.weight.astype(np.float32) * _along(self.scale, self.weight)


def quantise(weight: np.ndarray) -> Quantised:
    """The nearest weights of 8 bits, with the largest of every output channel at 64 to 127.

    Args:
        weight: float32 [out, ...].
    """
    largest = np.abs(weight).reshape(len(weight), -1).max(1).astype(np.float32)
    scale = np.ldexp(np.float32(1), np.maximum(np.frexp(largest)[1], SMALLEST) - 7)
    return Quantised(np.rint(weight / _along(scale, weight)).clip(-127, 127).astype(np.int8), scale)


def _along(scale: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return scale.reshape(-1, *[1] * (weight.ndim - 1))
