"""Metrics of a training iteration, a whole split, or a network's neurons. NumPy only."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.config import NEVER, ModelConfig
from csnn_jax.data.batches import eval_batches
from csnn_jax.data.images import Images
from csnn_jax.data.split import Split

BATCH = 128
LOOKED_AT = 32  # images that `summarize` uses
ROOM = 2**28  # bytes of membranes and spikes that `summarize` may hold at once


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation: predictions and spike densities over a whole split.

    Attributes:
        labels: true classes [N].
        predictions: predicted classes; ties go to the lowest class [N].
        densities: fraction of neurons that spike at a step, 0 to 1, by layer name.
        num_classes: number of classes.
    """

    labels: np.ndarray
    predictions: np.ndarray
    densities: dict[str, float]
    num_classes: int

    @property
    def accuracy(self) -> float:
        """Fraction of images classified correctly, 0 to 1 (snnTorch `accuracy_rate` over all images of the split)."""
        return float((self.labels == self.predictions).mean())

    @property
    def confusion(self) -> np.ndarray:
        """Number of images by true class (row) and predicted class (column), [classes, classes]."""
        matrix = np.zeros((self.num_classes, self.num_classes), np.int64)
        np.add.at(matrix, (self.labels, self.predictions), 1)
        return matrix

    @property
    def per_class(self) -> list[float | None]:
        """Accuracy of each class; None for classes without images in the split."""
        matrix = self.confusion
        return [float(row[i] / row.sum()) if row.sum() else None for i, row in enumerate(matrix)]


def evaluate(
    split: Split,
    model: ModelConfig,
    count: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]],
    go_on: Callable[[], bool] = lambda: True,
) -> Evaluation | None:
    """Evaluates a network on all images of a split.

    Args:
        split: images and labels.
        model: the network's configuration.
        count: runs the images of the given rows [batch] as the batch with the given number, and returns (predicted
            classes [batch], spikes per image and layer [batch, layers]).
        go_on: called before each batch; returns False to stop.

    Returns:
        The result, or None if `go_on` returned False.
    """
    predictions, fired = [], np.zeros(len(model.graph.neurons))
    index, valid = eval_batches(len(split.labels), min(BATCH, len(split.labels)))
    for number, (rows, real) in enumerate(zip(index, valid, strict=True)):
        if not go_on():
            return None
        classes, spikes = count(rows, number)
        predictions.append(classes[real])
        fired += spikes.astype(np.float64)[real].sum(0)
    time_steps = split.images.shape[1] if split.images.ndim == 5 else model.time_steps
    neurons = np.array([node.size for node in model.graph.neurons]) * time_steps * len(split.labels)
    densities = dict(zip((node.name for node in model.graph.neurons), (fired / neurons).tolist(), strict=True))
    return Evaluation(split.labels, np.concatenate(predictions), densities, model.num_classes)


class StepMetrics(NamedTuple):
    """Metrics of one training iteration.

    Attributes:
        loss: loss of the batch, before the update.
        finite: whether loss and gradients have been finite so far.
        densities: fraction of neurons that spike at a step [layers].
        gradients: Euclidean norm of the gradient of each kernel [nodes with weights].
    """

    loss: Any
    finite: Any
    densities: Any
    gradients: Any

    def fetched(self) -> "StepMetrics":
        """These metrics as numbers and NumPy arrays; waits for values that a device is still computing."""
        arrays = np.asarray(self.densities), np.asarray(self.gradients)
        return StepMetrics(float(self.loss), bool(self.finite), *arrays)


class Moments(NamedTuple):
    """Statistics of a layer's membranes U over time, images and neurons.

    Attributes:
        mean: mean of the membranes.
        square: mean of their squares.
        near: fraction of the membranes within half a threshold of the threshold.
        highest: maximum of each channel, the last axis of the shape [channels]. Above the threshold, the channel has
            spiked.
        threshold: threshold of the layer, or of each channel [channels].
    """

    mean: float
    square: float
    near: float
    highest: np.ndarray
    threshold: Any


class NeuronSummary(NamedTuple):
    """The state of a layer's neurons on `LOOKED_AT` images.

    Attributes:
        mean: mean of the membranes U over all steps; None if one isn't finite.
        deviation: their standard deviation, likewise.
        highest: their maximum, likewise.
        near: fraction of the membranes within half a threshold of the threshold; None for an integrator.
        threshold: threshold of the layer, or the mean over its channels; None for an integrator.
        dead: number of channels (feature maps of a convolution, otherwise neurons) that never spiked.
        channels: number of channels.
    """

    mean: float | None
    deviation: float | None
    highest: float | None
    near: float | None
    threshold: float | None
    dead: int
    channels: int


def moments(membranes: Any, threshold: Any) -> Moments:
    """Moments of one layer's membranes [time, batch, *shape, channels], a NumPy or JAX array.

    The threshold is a scalar, or [channels]. Moments that are too large for float32 are infinite.
    """
    steps = membranes.reshape(len(membranes), -1)  # in float32, a single sum would lose digits

    def mean(values: Any) -> Any:
        return values.mean(1).mean()

    near = mean(((membranes > threshold / 2) & (membranes < 1.5 * threshold)).reshape(steps.shape))
    highest = membranes.reshape(-1, membranes.shape[-1]).max(0)
    with np.errstate(over="ignore", invalid="ignore"):  # as in JAX
        return Moments(mean(steps), mean(steps * steps), near, highest, threshold)


def summarize(
    images: Images, model: ModelConfig, run: Callable[[np.ndarray, int], Sequence[Moments]]
) -> dict[str, NeuronSummary]:
    """Summarizes every layer's neurons on `LOOKED_AT` images, evenly spaced in a split.

    Args:
        images: images of the split.
        model: the network's configuration.
        run: runs a batch of images with the given batch number, and returns the moments of each layer. Batches are
            small if windows are long, so a trace stays within `ROOM`.

    Returns:
        The summary of each layer's neurons, by layer name.
    """
    rows = np.linspace(0, len(images) - 1, LOOKED_AT).astype(int)  # repeats images if there are fewer
    time_steps = images.shape[1] if images.ndim == 5 else model.time_steps
    each = 8 * time_steps * sum(node.size for node in model.graph.neurons)
    size = LOOKED_AT
    while size > 1 and size * each > ROOM:
        size //= 2
    parts = [run(images[rows[i : i + size]], number) for number, i in enumerate(range(0, LOOKED_AT, size))]
    return {
        node.name: _together(layer) for node, layer in zip(model.graph.neurons, zip(*parts, strict=True), strict=True)
    }


def _together(parts: Sequence[Moments]) -> NeuronSummary:
    """One layer's batches, which have equal sizes."""
    mean, square, near = (
        float(np.mean([getattr(part, name) for part in parts])) for name in ("mean", "square", "near")
    )
    highest, threshold = np.max([part.highest for part in parts], axis=0), np.asarray(parts[0].threshold)
    spikes = bool((threshold < NEVER).all())
    deviation = math.sqrt(max(0.0, square - mean**2)) if math.isfinite(square) else math.nan
    return NeuronSummary(
        mean=rounded(mean),
        deviation=rounded(deviation),
        highest=rounded(float(highest.max())),
        near=rounded(near) if spikes else None,
        threshold=rounded(float(threshold.mean())) if spikes else None,
        dead=int((~(highest > threshold)).sum()) if spikes else 0,  # NaN too
        channels=len(highest),
    )


def rounded(figure: float) -> float | None:
    """A value rounded to four digits for records; None (null in JSON) if it isn't finite."""
    return float(f"{figure:.4g}") if math.isfinite(figure) else None


class Records:
    """The records of training without a run directory: the same objects as in `metrics.jsonl`, in memory.

    Attributes:
        all: the records, in order.
    """

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def record(self, kind: str, **values: Any) -> None:
        """Appends one object."""
        self.all.append({"kind": kind, **values})

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        """All objects, or those of one kind."""
        return [record for record in self.all if kind in (None, record["kind"])]
