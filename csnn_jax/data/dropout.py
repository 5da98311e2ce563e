"""Draws which hidden neurons a training iteration leaves out, in NumPy, so that JAX and torch leave out the same."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from csnn_jax.config.network import ModelConfig

STREAM = 4
"""Tells these draws from the rate encoding's and the augmentation's, which are named (seed, 0 to 3, number)."""


def sizes(model: ModelConfig) -> list[int]:
    """Neurons of each layer that dropout is for: those whose spikes a linear layer takes, in order."""
    pairs = itertools.pairwise(model.layers)
    return [math.prod(before.out_shape) for before, layer in pairs if layer.kind == "linear"]


def draw(model: ModelConfig, share: float, seed: int, iteration: int, batch: int) -> list[np.ndarray]:
    """The masks of an iteration, one for each of `sizes`: bool [batch, neurons], true where a neuron stays.

    A neuron of an image is left out for the whole window. Made from Philox's own output, whose stream NumPy promises to
    keep, 16 bits a neuron.

    Args:
        model: the network.
        share: of the neurons that are left out, to 1/65536.
        seed: the job's.
        iteration: counted from 0.
        batch: images.
    """
    counts: Sequence[int] = [batch * size for size in sizes(model)]
    words = np.random.Philox(np.random.SeedSequence((seed, STREAM, iteration))).random_raw(-(-sum(counts) // 4))
    stays = words.astype("<u8", copy=False).view("<u2")[: sum(counts)] >= round(share * 2**16)
    parts = np.split(stays, np.cumsum(counts)[:-1])
    return [part.reshape(batch, -1) for part in parts]
