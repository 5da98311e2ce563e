"""A few MNIST digits as a separate data set that takes almost no time to evaluate."""

import functools
from pathlib import Path

import shipped  # noqa: F401
from idx_files import write_folder

from csnn_jax import data


def few_digits(folder: Path, train: int = 320, test: int = 64) -> str:
    """Writes them to a folder as IDX files, creating it if necessary; returns the value for `--dataset`."""
    folder.mkdir(exist_ok=True)
    mnist = _mnist()
    splits = ((mnist.train, train), (mnist.test, test))
    write_folder(folder, *((split.images[:count, :, :, 0], split.labels[:count]) for split, count in splits))
    return f"idx:{folder}"


@functools.cache
def _mnist() -> data.Dataset:
    return data.load("mnist", (28, 28, 1))
