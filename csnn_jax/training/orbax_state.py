"""Reads the training states of csnn_jax.train up to 0.3.0, which orbax wrote. Later ones: `checkpoint.py`."""

import logging
import warnings
from pathlib import Path

import numpy as np

from csnn_jax.errors import UserError, first_line

MARK = "_CHECKPOINT_METADATA"
"""A file in the folder of such a state."""


def read(folder: Path) -> dict[str, np.ndarray]:
    """The state in `checkpoints/<iterations done>`, by the names of `csnn_jax.learning.learner.Learner.snapshot`.

    Raises:
        UserError: it can't be read.
    """
    import jax

    try:
        from orbax.checkpoint import v1  # on first use: it takes a second
    except ImportError:  # Flax brings one of any version
        raise UserError(f"{folder}: written by orbax, expected `pip install 'orbax-checkpoint>=0.11.30'`") from None
    for name in ("absl", "asyncio"):  # they log tracebacks of errors that are raised as well
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), v1.training.Checkpointer(folder.parent.absolute()) as checkpointer:
            warnings.simplefilter("ignore")  # it was saved on one device, and is put on one
            tree = checkpointer.load(int(folder.name))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: expected a checkpoint of csnn-jax up to 0.3.0: {_reason(error)}") from None
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.array(leaf) for path, leaf in leaves}


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:  # orbax wraps what happened in a listing of its handlers
        error = error.__cause__
    return first_line(error)
