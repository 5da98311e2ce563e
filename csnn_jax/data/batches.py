"""The images of each batch, as indices."""

import numpy as np

from csnn_jax.errors import UserError
from csnn_jax.options import check


def epoch_permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """Draws an epoch's order of the training images. It depends only on (seed, epoch), so a resumed run repeats it.

    Args:
        seed: the run's seed, >= 0.
        epoch: index of the epoch, >= 0.
        n: number of training images.

    Returns:
        int32 [n], a permutation of 0 .. n - 1.

    Raises:
        UserError: seed or epoch is negative or no whole number.
    """
    for name, value in (("--seed", seed), ("epoch", epoch)):
        natural = isinstance(value, int | np.integer) and value >= 0
        check(name, value, "a whole number of at least 0", natural)
    return np.random.default_rng((seed, epoch)).permutation(n).astype(np.int32)


def check_batch_size(batch_size: int, n: int) -> None:
    """Raises UserError unless n training images make a batch."""
    if not 1 <= batch_size <= n:
        raise UserError(f"--batch-size {batch_size}: expected 1 to {n}, the number of training images")


def epoch_batches(seed: int, epoch: int, n: int, batch_size: int) -> np.ndarray:
    """Cuts `epoch_permutation` into batches and drops the last partial one.

    Returns:
        int32 [n // batch_size, batch_size], indices of training images.

    Raises:
        UserError: there isn't a single whole batch, or as in `epoch_permutation`.
    """
    check_batch_size(batch_size, n)
    whole = n - n % batch_size
    return epoch_permutation(seed, epoch, n)[:whole].reshape(-1, batch_size)


def eval_batches(n: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts images 0 .. n - 1 into batches of equal size, so one compiled function handles all of them.

    Returns:
        index: int32 [ceil(n / batch_size), batch_size], in order; the last batch is padded with image 0.
        valid: bool of the same shape, False for padding, which must not be counted.
    """
    batches = -(-n // batch_size)
    index = np.arange(batches * batch_size, dtype=np.int32).reshape(batches, batch_size)
    valid = index < n
    return np.where(valid, index, 0), valid
