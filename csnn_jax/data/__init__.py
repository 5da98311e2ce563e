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
    load,
    load_for,
    load_to_train,
    shortened,
)
from csnn_jax.data.encode import encode

__all__ = [
    "READERS",
    "Augmentation",
    "Dataset",
    "Split",
    "check_labels",
    "check_split",
    "encode",
    "epoch_batches",
    "epoch_permutation",
    "eval_batches",
    "fit_model",
    "load",
    "load_for",
    "load_to_train",
    "shortened",
]
