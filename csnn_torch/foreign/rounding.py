"""The effect of rounding a network's weights to their grids."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from csnn_jax.config import Config, ModelConfig
from csnn_jax.data import Images
from csnn_jax.network.model import from_tensors
from csnn_jax.runner import Runners
from csnn_jax.runs.layouts import Tensors
from csnn_jax.window import summed

IMAGES = 1000
"""Number of images of a test split, from the first one."""
CHUNK = 50
"""Images at a time."""
INK = 0.2
"""Fraction of pixels above 0 in random images, about the same as in MNIST."""


class Effect(NamedTuple):
    """What rounding changed on some images.

    Attributes:
        images: number of images.
        spikes: number of compared values, spike or no spike, in all layers at all steps.
        changed: how many of these differ.
        silent: layers in which no neuron spikes.
        predictions: how many predictions differ.
        correct: correct predictions, unrounded and rounded; None: the labels are unknown.
    """

    images: int
    spikes: int
    changed: int
    silent: tuple[str, ...]
    predictions: int
    correct: tuple[int, int] | None

    def __str__(self) -> str:
        changed = f"changed {self.changed:,} of {self.spikes:,} spikes and {self.predictions:,} of {self.images:,}"
        quiet = f"; no neuron of {', '.join(self.silent)} spikes" if self.silent else ""
        if self.correct is None:
            return f"{changed} predictions{quiet}"
        before, after = (one / self.images for one in self.correct)
        return f"{changed} predictions; accuracy {before:.2%} before, {after:.2%} after{quiet}"


def effect(config: Config, tensors: Tensors, images: Images, labels: np.ndarray | None = None) -> Effect:
    """Runs a network with and without rounded weights, on the first `IMAGES` images, in JAX.

    The sums of unrounded weights round in any order, so a few spikes would differ in another program, too.

    Args:
        config: the job.
        tensors: the weights before rounding.
        images: images that fit the network.
        labels: their classes; None: unknown.
    """
    graph, count = config.model.graph, min(IMAGES, len(images))
    network = from_tensors(config.model, tensors, jnp.dtype(config.train.dtype))
    params = nnx.split(network)[1]
    runner = Runners(network, "auto", config.train.seed).of(images)
    spikes = changed = 0
    fired, classes = set[str](), list[np.ndarray]()
    neurons = sum(node.size for node in graph.neurons)
    for start in range(0, count, CHUNK):
        x = runner.present(images, np.arange(start, min(start + CHUNK, count)), (2, 0))
        both = runner.compare_on_grids(params, runner.rounded(params), x)
        spikes += both.first.shape[0] * both.first.shape[1] * neurons
        changed += both.differing
        fired |= both.spiking
        classes.append(np.stack([summed(one).argmax(1) for one in (both.first, both.second)]))
    were, are = np.concatenate(classes, 1)
    correct = None if labels is None else (int((were == labels[:count]).sum()), int((are == labels[:count]).sum()))
    silent = tuple(graph.label(node) for node in graph.spiking if node.name not in fired)
    return Effect(count, spikes, changed, silent, int((were != are).sum()), correct)


def drawn(model: ModelConfig, count: int) -> Images:
    """Random images, if a network's own weren't given: bytes in a fifth of the pixels, 0 elsewhere."""
    random = np.random.default_rng(0)
    shape = (count, *model.input_shape)
    most = min(255, 2**model.pixels.bits)
    return (random.integers(1, most, shape, endpoint=True) * (random.random(shape) < INK)).astype(np.uint8)
