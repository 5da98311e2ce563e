"""Data sets, batches and spike encoders in NumPy, so that JAX and torch see the same data."""

from csnn_jax.data.augment import Augmentation
from csnn_jax.data.batches import epoch_batches, epoch_permutation, eval_batches
from csnn_jax.data.datasets import (
    READERS,
    Dataset,
    Split,
    check_labels,
    check_split,
    fit_model,
    is_recorded,
    load,
    load_for,
    load_to_train,
    shortened,
)
from csnn_jax.data.encode import encode
from csnn_jax.data.images import Images, as_bytes

__all__ = [
    "READERS",
    "Augmentation",
    "Dataset",
    "Images",
    "Split",
    "as_bytes",
    "check_labels",
    "check_split",
    "encode",
    "epoch_batches",
    "epoch_permutation",
    "eval_batches",
    "fit_model",
    "is_recorded",
    "load",
    "load_for",
    "load_to_train",
    "shortened",
]
