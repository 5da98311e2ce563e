"""Draws the hidden neurons that a training iteration drops, in NumPy, so JAX and torch drop the same ones."""

import math
from collections.abc import Sequence

import numpy as np

from csnn_jax.config.graph import Linear
from csnn_jax.config.network import ModelConfig

STREAM = 4
"""Separates these draws from those of the rate encoding and the augmentation, whose seeds are (seed, 0 to 3,
number)."""


def sizes(model: ModelConfig) -> list[int]:
    """The number of neurons of each layer that dropout applies to, in order: those that feed a linear layer."""
    return [math.prod(neurons.shape) for neurons in model.graph.feeding(Linear)]


def draw(model: ModelConfig, share: float, seed: int, iteration: int, batch: int) -> list[np.ndarray]:
    """The masks of an iteration, one for each of `sizes`: bool [batch, neurons], True where a neuron is kept.

    A neuron is dropped for an image's whole window. The masks come directly from Philox's output, whose stream NumPy
    promises to keep, with 16 bits per neuron.

    Args:
        model: the network.
        share: fraction of the neurons to drop, in multiples of 1/65536.
        seed: the job's seed.
        iteration: counted from 0.
        batch: number of images.
    """
    counts: Sequence[int] = [batch * size for size in sizes(model)]
    words = np.random.Philox(np.random.SeedSequence((seed, STREAM, iteration))).random_raw(-(-sum(counts) // 4))
    stays = words.astype("<u8", copy=False).view("<u2")[: sum(counts)] >= round(share * 2**16)
    parts = np.split(stays, np.cumsum(counts)[:-1])
    return [part.reshape(batch, -1) for part in parts]
