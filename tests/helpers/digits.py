"""A few of MNIST's digits as a data set of their own, whose evaluations take no time."""

import functools
from pathlib import Path

from idx_files import write_folder

from csnn_jax import data


def few_digits(folder: Path, train: int = 320, test: int = 64) -> str:
    """Writes them as IDX files, into a folder that is made where there is none; what `--dataset` takes."""
    folder.mkdir(exist_ok=True)
    mnist = _mnist()
    splits = ((mnist.train, train), (mnist.test, test))
    write_folder(folder, *((split.images[:count, :, :, 0], split.labels[:count]) for split, count in splits))
    return f"idx:{folder}"


@functools.cache
def _mnist() -> data.Dataset:
    return data.load("mnist", (28, 28, 1))
