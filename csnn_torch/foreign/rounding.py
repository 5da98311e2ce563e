"""What rounding weights to their grids changes of a network."""

from typing import NamedTuple

import numpy as np

from csnn_jax.config import Config, ModelConfig
from csnn_jax.data import Images
from csnn_jax.engine.scan import Trace
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import Tensors
from csnn_jax.trained import Trained
from csnn_torch.model import add_up

IMAGES = 1000
"""Of a test split, from its first on."""
CHUNK = 50
"""Images at a time, whose spikes of all layers and steps are kept: 400 MB for each side of the default network."""
INK = 0.2
"""Part of the pixels above 0 in images that are drawn: about MNIST's."""


class Effect(NamedTuple):
    """What rounding changed on some images.

    Attributes:
        images: how many.
        spikes: of all layers at all steps.
        changed: how many of the spikes differ.
        predictions: how many differ.
        correct: predictions, unrounded and rounded; None: nobody knows the labels.
    """

    images: int
    spikes: int
    changed: int
    predictions: int
    correct: tuple[int, int] | None

    def __str__(self) -> str:
        changed = f"changed {self.changed:,} of {self.spikes:,} spikes and {self.predictions:,} of {self.images:,}"
        if self.correct is None:
            return f"{changed} predictions"
        before, after = (one / self.images for one in self.correct)
        return f"{changed} predictions; accuracy {before:.2%} before, {after:.2%} after"


def effect(config: Config, tensors: Tensors, images: Images, labels: np.ndarray | None = None) -> Effect:
    """Runs a network with rounded weights and without, on the first of some images, by the scan engine.

    Args:
        config: the job.
        tensors: the weights before rounding.
        images: that fit the network.
        labels: their classes; None: unknown.
    """
    given, rounded = (Trained(config, one, "scan") for one in (tensors, layouts.on_grid(config.model, tensors)))
    count = min(IMAGES, len(images))
    spikes = changed = others = 0
    correct = np.zeros(2, np.int64)
    for start in range(0, count, CHUNK):
        rows = slice(start, min(start + CHUNK, count))
        before, after = (side.trace(images[rows]) for side in (given, rounded))
        classes = [_classes(config.model, one) for one in (before, after)]
        spikes += sum(layer.size for layer in before.spikes)
        changed += sum(int(np.sum(a != b)) for a, b in zip(before.spikes, after.spikes, strict=True))
        others += int(np.sum(classes[0] != classes[1]))
        if labels is not None:
            correct += [np.count_nonzero(found == labels[rows]) for found in classes]
    were, are = correct.tolist()
    return Effect(count, spikes, changed, others, None if labels is None else (were, are))


def drawn(model: ModelConfig, count: int) -> Images:
    """Random images for a network whose own nobody has given: bytes at a fifth of the pixels, 0 elsewhere."""
    random = np.random.default_rng(0)
    shape = (count, *model.input_shape)
    most = min(255, 2**model.pixel_bits)
    return (random.integers(1, most, shape, endpoint=True) * (random.random(shape) < INK)).astype(np.uint8)


def _classes(model: ModelConfig, trace: Trace) -> np.ndarray:
    read = trace.membranes if model.readout == "membrane" else trace.spikes
    return add_up(np.asarray(read[-1])).argmax(1)
