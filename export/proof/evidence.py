"""The test images that the files of a bundle are checked on, with what torch makes of them."""

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

KEPT = 2**30
"""Bytes of torch's windows that are kept in memory, so they're run once for all files."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What shows that a file computes what the network does.

    Attributes:
        network: the trained network.
        test: test images and labels, for accuracy.
        images: how many of them, from the first on, spikes are compared on.
        extent: how much is looked at.
        work: counts the images that were looked at.
    """

    network: Network
    test: Split
    images: int
    extent: Extent = EXTENTS["usual"]
    work: Work = field(default_factory=lambda: Work("Checking"), repr=False)

    def batches(self, count: int | None = None) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """(what the network is fed, see `reference.inputs`; labels) of the first `count` images (None: all).

        In the batches in which csnn_jax evaluates, so the rate encoding draws the same spikes.
        """
        total = len(self.test.labels)
        count = total if count is None else min(count, total)
        for number, rows in enumerate(data.eval_batches(total, min(BATCH, total))[0]):
            left = min(count - number * len(rows), len(rows))
            if left > 0:
                seed = self.network.config.train.seed, 1, number
                x = reference.inputs(self.network.model, self.test.images[rows], seed)
                yield x.narrow(x.ndim - 4, 0, left), self.test.labels[rows[:left]]

    @property
    def compared(self) -> Iterator[TorchWindow]:
        """The images that spikes are compared on, a few at a time, with what torch makes of them."""
        neurons = sum(math.prod(shape) for shape in reference.state_shapes(self.network.model).values())
        small = 4 * neurons * self.network.time_steps * self.images <= KEPT
        for one in self._kept if small else self._windows():
            yield one
            self.work.saw(one.torch.output.shape[1])

    @cached_property
    def _kept(self) -> list[TorchWindow]:
        return [*self._windows()]

    def _windows(self) -> Iterator[TorchWindow]:
        return windows(self.network.step, (x for x, _ in self.batches(self.images)))

    def few(self, count: int) -> torch.Tensor:
        """The inputs of the first `count` images."""
        return next(self.batches(count))[0]

    @property
    def looked_at(self) -> int:
        """About how many images the check of a file looks at, for `work`."""
        return self.images + len(self.test.labels)

    def accuracy(self, scores: reference.Scores) -> float:
        """Share of the test images that a program classifies right."""
        return accuracy(scores, self._labeled())

    def _labeled(self) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """`batches`, a few images at a time, so that no call keeps the program from being interrupted for long."""
        for x, labels in self.batches():
            for number, piece in enumerate(x.split(PIECE, x.ndim - 4)):
                here = labels[number * PIECE :][:PIECE]
                yield piece, here
                self.work.saw(len(here))


def accuracy(scores: reference.Scores, batches: Iterable[tuple[torch.Tensor, np.ndarray]]) -> float:
    """Share of images that a program classifies right: the highest score, the lowest class on ties.

    Args:
        scores: runs the program.
        batches: (what the network is fed, see `reference.inputs`; true classes).
    """
    right = [scores(x).argmax(1) == labels for x, labels in batches]
    return float(np.concatenate(right).mean())
