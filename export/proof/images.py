"""The test images on which a bundle's files are checked, with torch's results."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from csnn_jax import data
from csnn_jax.data import Split
from csnn_jax.runs.metrics import BATCH
from export import reference
from export.network import Network
from export.proof.equality import PIECE, TorchWindow, windows
from export.settings import EXTENTS, Extent
from export.work import Work

MOST_REMEMBERED = 2**30
"""Maximum size of torch's results in memory, in bytes; they're computed once for all files."""


@dataclass(frozen=True, eq=False)
class CheckImages:
    """Test images on which files must compute the same as the network, with torch's results.

    Attributes:
        network: the trained network.
        test: test images and labels, for accuracy.
        count: number of test images, from the first on, on which spikes are compared.
        extent: how much to check.
        work: counts the processed images.
    """

    network: Network
    test: Split
    count: int
    extent: Extent = EXTENTS["usual"]
    work: Work = field(default_factory=lambda: Work("Checking"), repr=False)

    def batches(self, count: int | None = None) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """Iterates over (network input, see `reference.inputs`; labels) of the first `count` images (None: all).

        It uses the same batches as csnn_jax's evaluation, so the rate encoding draws the same spikes.
        """
        total = len(self.test.labels)
        most = total if count is None else min(count, total)
        for number, rows in enumerate(data.eval_batches(total, min(BATCH, total))[0]):
            left = min(most - number * len(rows), len(rows))
            if left > 0:
                seed = self.network.config.train.seed, 1, number
                x = reference.inputs(self.network.model, self.test.images[rows], seed)
                yield x.narrow(x.ndim - 4, 0, left), self.test.labels[rows[:left]]

    @property
    def compared(self) -> Iterator[TorchWindow]:
        """The images on which spikes are compared, a few at a time, with torch's results."""
        neurons = sum(math.prod(shape) for shape in reference.state_shapes(self.network.model).values())
        small = 4 * neurons * self.network.time_steps * self.count <= MOST_REMEMBERED
        for one in self._remembered if small else self._windows():
            yield one
            self.work.saw(one.x.shape[-4])

    @cached_property
    def _remembered(self) -> list[TorchWindow]:
        return [*self._windows()]

    def _windows(self) -> Iterator[TorchWindow]:
        return windows(self.network.step, (x for x, _ in self.batches(self.count)))

    def few(self, count: int) -> torch.Tensor:
        """The inputs of the first `count` images."""
        return next(self.batches(count))[0]

    def accuracy(self, scores: reference.Scores) -> float:
        """Fraction of the test images that a program classifies correctly."""
        return accuracy(scores, self._labeled())

    def _labeled(self) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """`batches`, a few images at a time, so the program can always be interrupted soon."""
        for x, labels in self.batches():
            for number, piece in enumerate(x.split(PIECE, x.ndim - 4)):
                here = labels[number * PIECE :][:PIECE]
                yield piece, here
                self.work.saw(len(here))


def accuracy(scores: reference.Scores, batches: Iterable[tuple[torch.Tensor, np.ndarray]]) -> float:
    """Fraction of images that a program classifies correctly, by the highest score; ties go to the lowest class."""
    right = [scores(x).argmax(1) == labels for x, labels in batches]
    return float(np.concatenate(right).mean())
