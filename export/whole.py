"""Weights of few bits as whole numbers, for the files that hold them so."""

from typing import NamedTuple

import numpy as np


class Whole(NamedTuple):
    """A layer's weights: `units` times the `scale` of their neuron or output channel, exactly.

    Attributes:
        units: int8 in torch's layout, [out, in, k, k] or [out, in].
        scale: float32 [out], powers of two.
    """

    units: np.ndarray
    scale: np.ndarray


def whole(weight: np.ndarray) -> Whole:
    """The weights as multiples of the largest power of two that all of a neuron's are multiples of.

    Args:
        weight: float32 [out, ...], of a network with 2 to 8 bits for each weight.

    Raises:
        ValueError: they have more bits.
    """
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    mantissa, exponent = np.frexp(flat)
    digits = np.ldexp(mantissa, 24).astype(np.int64)
    lowest = np.where(flat == 0, np.inf, np.ldexp((digits & -digits).astype(np.float64), exponent - 24)).min(1)
    scale = np.where(np.isinf(lowest), 1.0, lowest)  # of a neuron without weights
    units = flat / scale[:, None]
    if np.abs(units).max() > 127:
        raise ValueError("expected weights of at most 8 bits")
    return Whole(units.astype(np.int8).reshape(weight.shape), scale.astype(np.float32))
