"""The effect of rounding a network's weights to their grids."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from csnn_jax.config import Config, ModelConfig
from csnn_jax.data import Images, as_floats, as_input
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import Tensors
from csnn_jax.window import output
from csnn_torch.library import Torch
from csnn_torch.model import channels_first

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


@torch.no_grad()
def effect(config: Config, tensors: Tensors, images: Images, labels: np.ndarray | None = None) -> Effect:
    """Runs a network with and without rounded weights, on the first `IMAGES` images, in torch on the CPU.

    Args:
        config: the job.
        tensors: the weights before rounding.
        images: images that fit the network.
        labels: their classes; None: unknown.
    """
    model = config.model
    library = Torch()
    sides = [library.parameters(model.graph, one) for one in (tensors, layouts.on_grid(model, tensors))]
    count = min(IMAGES, len(images))
    spikes = changed = others = 0
    fired = np.zeros(len(model.graph.neurons), bool)
    correct = np.zeros(2, np.int64)
    for start in range(0, count, CHUNK):
        rows = np.arange(start, min(start + CHUNK, count))
        x = channels_first(as_floats(as_input(images[rows], model, (config.train.seed, 2, 0)), model))
        scores: list[Tensor | int] = [0, 0]
        for steps in zip(*(library.run(model.graph, side, x, model.time_steps) for side in sides), strict=True):
            before, after = ([one.values[node.name] for node in model.graph.neurons] for one in steps)
            fired |= [bool(layer.any()) for layer in before]
            spikes += sum(layer.numel() for layer in before)
            changed += sum(int((a != b).sum()) for a, b in zip(before, after, strict=True))
            read = (output(model, one.states, one.values) for one in steps)
            scores = [total + one for total, one in zip(scores, read, strict=True)]
        classes = [np.asarray(total).argmax(1) for total in scores]
        others += int(np.sum(classes[0] != classes[1]))
        if labels is not None:
            correct += [np.count_nonzero(predicted == labels[rows]) for predicted in classes]
    were, are = correct.tolist()
    graph = model.graph
    never = [node for node, ever in zip(graph.neurons, fired, strict=True) if not ever and node in graph.spiking]
    silent = tuple(map(graph.label, never))
    return Effect(count, spikes, changed, silent, others, None if labels is None else (were, are))


def drawn(model: ModelConfig, count: int) -> Images:
    """Random images, if a network's own weren't given: bytes in a fifth of the pixels, 0 elsewhere."""
    random = np.random.default_rng(0)
    shape = (count, *model.input_shape)
    most = min(255, 2**model.pixels.bits)
    return (random.integers(1, most, shape, endpoint=True) * (random.random(shape) < INK)).astype(np.uint8)
