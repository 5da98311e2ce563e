"""Prepares training batches ahead of time in a thread: reads, augments and encodes them."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.training import plan

AHEAD = 3
"""Number of batches prepared, or being prepared, during a training step."""


class Batch(NamedTuple):
    """An iteration's training data: the rows of a batch that a process needs.

    Attributes:
        iteration: its number, from 0.
        images: the network's input, see `data.as_input`: [rows, H, W, C] or [time, rows, H, W, C].
        labels: int32 [rows].
    """

    iteration: int
    images: np.ndarray
    labels: np.ndarray


class Feed:
    """Makes the batches of a job.

    Args:
        config: the job.
        split: training data.
        rows: the rows of a batch that this process needs, given its size; all by default.
    """

    def __init__(self, config: Config, split: data.Split, rows: Callable[[int], slice] = slice):
        self._config, self._split, self._rows = config, split, rows
        self._augmentation = data.Augmentation.of(config, split.images)

    def batches(self, start: int = 0) -> Generator[Batch, None, None]:
        """The batches of all iterations from `start` to the end of the job.

        Close the iterator to end its thread, which takes as long as one batch. An error in that thread is raised here,
        at its iteration.
        """
        planned = plan.batches(self._config.train, len(self._split.labels), start)
        pool = ThreadPoolExecutor(1, "feed")
        submitted = (pool.submit(self.batch, iteration, index) for iteration, index in planned)
        try:
            waiting = deque(islice(submitted, AHEAD))
            while waiting:
                waiting.extend(islice(submitted, 1))
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def batch(self, iteration: int, index: np.ndarray) -> Batch:
        """The batch of an iteration, given the indices of its training images [batch]."""
        rows, seed = self._rows(len(index)), (self._config.train.seed, 0, iteration)
        within = rows.indices(len(index))[0], len(index)
        x = data.as_input(self.images(iteration, index), self._config.model, seed, within)
        return Batch(iteration, x, self._split.labels[index[rows]])

    def images(self, iteration: int, index: np.ndarray) -> np.ndarray:
        """The images of this process's rows, augmented if configured: [rows, ...]."""
        rows = self._rows(len(index))
        if self._augmentation is not None:
            return self._augmentation.batch(iteration, index, rows)
        return np.asarray(self._split.images[index[rows]])
