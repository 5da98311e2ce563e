"""Importing this unpacks the MNIST that ships with the package only once in each process, instead of in each test."""

import functools
from pathlib import Path

import numpy as np

from csnn_jax.data import idx

FOLDER = Path(idx.__file__).with_name("mnist")


def remembered(values):
    """`idx._values`, remembering the arrays in the package's own files."""
    once = functools.cache(values)

    @functools.wraps(values)
    def read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
        return once(path, shape).copy() if path.parent == FOLDER else values(path, shape)

    return read


idx._values = remembered(idx._values)
