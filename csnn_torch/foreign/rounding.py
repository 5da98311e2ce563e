"""What rounding weights to their grids changes of a network."""

from typing import NamedTuple

import numpy as np

from csnn_jax.config import Config, decided
from csnn_jax.data import Split
from csnn_jax.runs.layouts import Tensors
from csnn_torch.model import predictions
from csnn_torch.trainer import Trainer

IMAGES = 1000
"""Of a test split, from its first on."""
CHUNK = 50
"""Images at a time, whose spikes of all layers and steps are kept: 400 MB for each side of the default network."""


class Effect(NamedTuple):
    """What rounding changed on some images.

    Attributes:
        images: how many.
        spikes: of all layers at all steps.
        changed: how many of the spikes differ.
        predictions: how many differ.
        before, after: correct predictions, unrounded and rounded.
    """

    images: int
    spikes: int
    changed: int
    predictions: int
    before: int
    after: int

    def __str__(self) -> str:
        return (
            f"changed {self.changed:,} of {self.spikes:,} spikes and {self.predictions:,} of {self.images:,} "
            f"predictions; accuracy {self.before / self.images:.2%} before, {self.after / self.images:.2%} after"
        )


def effect(config: Config, tensors: Tensors, test: Split) -> Effect:
    """Runs a network with rounded weights and without, on the first images of a split, in snnTorch on the CPU.

    Args:
        config: the job.
        tensors: the weights before rounding.
        test: images that fit the network, and their labels.
    """
    given, rounded = (Trainer(decided(config), None, tensors, "cpu") for _ in range(2))
    given.network.grids = ()
    total = np.zeros(6, np.int64)
    count = min(IMAGES, len(test.labels))
    for start in range(0, count, CHUNK):
        rows = np.arange(start, min(start + CHUNK, count))
        traces = [side.trace(test.images[rows]) for side in (given, rounded)]
        classes, others = (predictions(config.model, *trace) for trace in traces)
        before, after = (spikes for _, spikes in traces)
        spikes = sum(layer.size for layer in before)
        changed = sum(int(np.count_nonzero(a != b)) for a, b in zip(before, after, strict=True))
        correct = [int((found == test.labels[rows]).sum()) for found in (classes, others)]
        total += [len(rows), spikes, changed, int((classes != others).sum()), *correct]
    return Effect(*total.tolist())
