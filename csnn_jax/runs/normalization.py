"""Batch normalization as NumPy arrays: what training stores for a convolution, and the plain network that it makes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.runs.layouts import Tensors

EPSILON = 1e-5
"""Added to a variance, as in torch."""


class Norm(NamedTuple):
    """The normalization of a convolution's output, by output channel.

    Attributes:
        scale: what the normalized output is multiplied by; what is added then is the convolution's bias.
        mean: running mean of the output without the bias.
        variance: its running variance, the mean of squares, so without torch's factor n / (n - 1).
    """

    scale: Any
    mean: Any
    variance: Any


class Statistics(NamedTuple):
    """Mean and variance of a convolution's output in a batch [channels]."""

    mean: Any
    variance: Any


def share(iteration: int) -> float:
    """Weight of a batch in the running mean and variance, at least 0.1; the first (0) replaces them."""
    return max(0.1, 1 / (iteration + 1))


def folded(tensors: Tensors, norms: Mapping[str, Norm]) -> Tensors:
    """The parameters of the network without normalization that computes the same as with the running statistics.

    Args:
        tensors: parameters with torch's names and layouts.
        norms: the normalization of some convolutions by name.
    """
    made = dict(tensors)
    for name, norm in norms.items():
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        factor = norm.scale / np.sqrt(norm.variance + weight.dtype.type(EPSILON))
        made |= {f"{name}.weight": weight * factor.reshape(-1, 1, 1, 1), f"{name}.bias": bias - norm.mean * factor}
    return made
