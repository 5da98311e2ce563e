"""Data sets, batches and spike encoders in NumPy, so JAX and torch get the same data."""

import importlib
from typing import Any

from csnn_jax.data.augment import Augmentation
from csnn_jax.data.batches import as_input, encode, epoch_batches, eval_batches
from csnn_jax.data.datasets import (
    READERS,
    check_names,
    fit_model,
    is_recorded,
    learned,
    load,
    load_for,
    load_to_train,
    named,
    reader_of,
    takes_as_is,
)
from csnn_jax.data.images import Images, MadeImages, as_bytes, as_floats, as_images, as_learned, check_images
from csnn_jax.data.split import (
    ARRAYS,
    Dataset,
    Split,
    as_parts,
    as_split,
    check_counts,
    check_labels,
    check_split,
    digest,
    require_training,
    shortened,
)

__all__ = [
    "ARRAYS",
    "READERS",
    "Augmentation",
    "Dataset",
    "Images",
    "MadeImages",
    "Split",
    "as_bytes",
    "as_floats",
    "as_images",
    "as_input",
    "as_learned",
    "as_parts",
    "as_split",
    "check_counts",
    "check_images",
    "check_labels",
    "check_names",
    "check_split",
    "digest",
    "encode",
    "epoch_batches",
    "eval_batches",
    "fit_model",
    "is_recorded",
    "learned",
    "load",
    "load_for",
    "load_to_train",
    "named",
    "reader_of",
    "require_training",
    "shortened",
    "takes_as_is",
]


def __getattr__(name: str) -> Any:
    if name == "pictures":  # only imported if it's used, because Pillow takes a while
        return importlib.import_module(f"{__name__}.pictures")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
