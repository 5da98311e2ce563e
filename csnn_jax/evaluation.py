"""The result of running a network over a split of a data set; NumPy only."""

from dataclasses import dataclass

import numpy as np


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
