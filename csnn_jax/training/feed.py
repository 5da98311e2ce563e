"""The batches that a training learns from. Augmented images, and those of files, are made ahead in a thread."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.training import plan

AHEAD = 3
"""Batches that are made, or being made, while one is learnt from."""

Batch = tuple[int, np.ndarray, np.ndarray | None]


def batches(
    config: Config, images: data.Images, start: int = 0, rows: Callable[[int], slice] = slice
) -> Generator[Batch, None, None]:
    """The iterations of a job from `start` to its end: (iteration, indices [batch], images to learn from).

    The images are None where they are in memory and stay as they are. Close the iterator to end its thread, which takes
    as long as one batch. An error in that thread is raised here, at its iteration.

    Args:
        config: the job.
        images: those of the training split.
        start: iterations done before.
        rows: those of a batch that images are made of, given its size; all by default.
    """
    planned = plan.batches(config.train, len(images), start)
    augmentation = data.Augmentation.of(config, images)
    if augmentation is not None:
        yield from _ahead(planned, augmentation.batch, rows(config.train.batch_size))
    elif isinstance(images, np.ndarray):
        for iteration, index in planned:
            yield iteration, index, None
    else:
        yield from _ahead(planned, lambda _, index, own: images[index[own]], rows(config.train.batch_size))


def _ahead(
    planned: Iterator[tuple[int, np.ndarray]], make: Callable[[int, np.ndarray, slice], np.ndarray], rows: slice
) -> Iterator[Batch]:
    pool = ThreadPoolExecutor(1, "augment")
    submitted = ((number, index, pool.submit(make, number, index, rows)) for number, index in planned)
    try:
        waiting = deque(islice(submitted, AHEAD))
        while waiting:
            waiting.extend(islice(submitted, 1))
            iteration, index, made = waiting.popleft()
            yield iteration, index, made.result()
    finally:
        pool.shutdown(cancel_futures=True)
