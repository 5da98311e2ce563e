"""Runs a network over a split of a data set, and the result; NumPy only."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from csnn_jax.config import ModelConfig
from csnn_jax.data import Split, eval_batches

BATCH = 128


@dataclass(frozen=True)
class Evaluation:
    """Predictions over a whole split.

    Attributes:
        labels: true classes [N].
        predictions: the class with the most output spikes, the lowest on ties [N].
        densities: share of neurons that spike at a step, 0 to 1, for each layer by name.
        num_classes: number of classes.
    """

    labels: np.ndarray
    predictions: np.ndarray
    densities: dict[str, float]
    num_classes: int

    @property
    def accuracy(self) -> float:
        """Share of images predicted right, 0 to 1 (snnTorch `accuracy_rate`, over all images of the split)."""
        return float((self.labels == self.predictions).mean())

    @property
    def confusion(self) -> np.ndarray:
        """Images by true class (row) and predicted class (column), [classes, classes]."""
        matrix = np.zeros((self.num_classes, self.num_classes), np.int64)
        np.add.at(matrix, (self.labels, self.predictions), 1)
        return matrix

    @property
    def per_class(self) -> list[float | None]:
        """Accuracy of each class, None for a class that has no image in the split."""
        matrix = self.confusion
        return [float(row[i] / row.sum()) if row.sum() else None for i, row in enumerate(matrix)]


def evaluate(
    split: Split,
    model: ModelConfig,
    tally: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]],
    go_on: Callable[[], bool] = lambda: True,
) -> Evaluation | None:
    """Runs a network over all images of a split.

    Args:
        split: images and labels.
        model: the network's configuration.
        tally: runs the images of the given rows [batch], as the batch of the given number:
            (predicted classes [batch], spikes per image and layer [batch, layers]).
        go_on: asked before each batch whether to go on.

    Returns:
        The result, or None if `go_on` said no.
    """
    predictions, fired = [], np.zeros(len(model.layers))
    index, valid = eval_batches(len(split.labels), min(BATCH, len(split.labels)))
    for number, (rows, real) in enumerate(zip(index, valid, strict=True)):
        if not go_on():
            return None
        classes, spikes = tally(rows, number)
        predictions.append(classes[real])
        fired += spikes.astype(np.float64)[real].sum(0)
    time_steps = split.images.shape[1] if split.images.ndim == 5 else model.time_steps
    neurons = np.array([np.prod(layer.out_shape) for layer in model.layers]) * time_steps * len(split.labels)
    densities = {f"lif{i}": float(d) for i, d in enumerate(fired / neurons, 1)}
    return Evaluation(split.labels, np.concatenate(predictions), densities, model.num_classes)
