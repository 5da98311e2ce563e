"""Which images make up which batch, as indices of them."""

import numpy as np

from csnn_jax.errors import UserError


def epoch_permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """Draws an epoch's order of the training images, from (seed, epoch) alone: a resumed run repeats it.

    Args:
        seed: the run's seed, >= 0.
        epoch: number of the epoch, >= 0.
        n: number of training images.

    Returns:
        int32 [n], a permutation of 0 .. n - 1.
    """
    return np.random.default_rng((seed, epoch)).permutation(n).astype(np.int32)


def epoch_batches(seed: int, epoch: int, n: int, batch_size: int) -> np.ndarray:
    """Cuts `epoch_permutation` into batches and drops the last partial one.

    Returns:
        int32 [n // batch_size, batch_size], indices of training images.

    Raises:
        UserError: there is not one whole batch.
    """
    if not 1 <= batch_size <= n:
        raise UserError(f"--batch-size {batch_size}: expected 1 to {n}, the number of images that are trained on")
    whole = n - n % batch_size
    return epoch_permutation(seed, epoch, n)[:whole].reshape(-1, batch_size)


def eval_batches(n: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts images 0 .. n - 1 into batches of one size, so that one compiled function serves them all.

    Returns:
        index: int32 [ceil(n / batch_size), batch_size], in order, the last batch filled up with image 0.
        valid: bool of the same shape, False where filled up: those results must not be counted.
    """
    batches = -(-n // batch_size)
    index = np.arange(batches * batch_size, dtype=np.int32).reshape(batches, batch_size)
    valid = index < n
    return np.where(valid, index, 0), valid
