"""Data sets, batches and spike encoders in NumPy, so JAX and torch get the same data."""

from csnn_jax.data.augment import Augmentation
from csnn_jax.data.batches import epoch_batches, epoch_permutation, eval_batches
from csnn_jax.data.caller import as_floats, as_images, as_learned, check_images
from csnn_jax.data.datasets import READERS, is_recorded, load, load_for, load_to_train, reader_of, takes_as_is
from csnn_jax.data.encode import as_input, encode
from csnn_jax.data.fitted import check_names, fit_model, learned, named
from csnn_jax.data.images import Images, MadeImages, as_bytes
from csnn_jax.data.split import (
    ARRAYS,
    Dataset,
    Split,
    as_split,
    check_alike,
    check_counts,
    check_labels,
    check_split,
    class_names,
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
    "as_split",
    "check_alike",
    "check_counts",
    "check_images",
    "check_labels",
    "check_names",
    "check_split",
    "class_names",
    "digest",
    "encode",
    "epoch_batches",
    "epoch_permutation",
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
