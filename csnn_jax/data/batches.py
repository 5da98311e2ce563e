"""The batches of a run, in NumPy, so JAX and torch get the same images, spikes and dropped neurons."""

import math
from collections.abc import Sequence

import numpy as np

from csnn_jax.config.network import ModelConfig
from csnn_jax.config.operations import Linear
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

    Args:
        seed: the seed of the training run.
        epoch: the epoch, from 0.
        n: number of training images.
        batch_size: images per batch.

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

    Args:
        n: number of images.
        batch_size: images per batch.

    Returns:
        index: int32 [ceil(n / batch_size), batch_size], in order; the last batch is padded with image 0.
        valid: bool of the same shape, False for padding, which must not be counted.
    """
    batches = -(-n // batch_size)
    index = np.arange(batches * batch_size, dtype=np.int32).reshape(batches, batch_size)
    valid = index < n
    return np.where(valid, index, 0), valid


def as_input(
    images: np.ndarray, model: ModelConfig, seed: tuple[int, ...], within: tuple[int, int] | None = None
) -> np.ndarray:
    """Turns a batch of images into the network's input.

    Args:
        images: uint8 or float [B, H, W, C], or [B, T, H, W, C] if they have a time axis.
        model: the network, with its encoding.
        seed: identifies the batch, see `encode`.
        within: position of the images in a larger batch, see `encode`.

    Returns:
        One image for all steps [B, H, W, C], or one per step [T, B, H, W, C]. Bytes aren't divided by
            `model.entering.scale` yet, see `as_floats`.
    """
    if model.encoding != "direct":
        return encode(images, model.time_steps, model.encoding, seed, model.pixels.brightest, within)
    return images.swapaxes(0, 1) if images.ndim == 5 else images


def encode(
    images: np.ndarray,
    time_steps: int,
    encoding: str,
    seed: tuple[int, ...],
    scale: float = 255.0,
    within: tuple[int, int] | None = None,
) -> np.ndarray:
    """Encodes a batch of images as spikes.

    Args:
        images: uint8 [B, H, W, C].
        time_steps: T, number of steps.
        encoding: "rate" or "latency".
        seed: integers >= 0 that identify the batch, e.g. (seed, step). Equal seeds give equal spikes. Use the same
            length throughout, because trailing zeros are ignored. "latency" isn't random.
        scale: the pixel value of full brightness; larger values are clipped to it.
        within: position of the images in a batch that is split: (index of the first image, size of the batch). They get
            the same spikes as in the whole batch. None: they are the whole batch.

    Returns:
        uint8 [T, B, H, W, C], 0 or 1.

    Raises:
        UserError: images that already have a time axis [B, T, H, W, C].
        ValueError: images of the wrong type or rank, no steps, or an unknown encoding. ("direct" needs no spikes: the
            model holds the image constant.)
    """
    if images.ndim == 5:
        raise UserError(f"--encoding {encoding}: the images already have a time axis, expected direct")
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"images: {images.dtype} of shape {images.shape}; expected uint8 [B, H, W, C]")
    first, batch = within or (0, len(images))
    if time_steps < 1 or not 0 <= first <= batch - len(images):
        raise ValueError(f"{time_steps} steps, within {within}; expected at least 1 step, and images inside the batch")
    images = levels(images, scale)
    if encoding == "rate":
        return _rate(images, time_steps, seed, first, batch)
    if encoding == "latency":
        return _latency(images, time_steps)
    raise ValueError(f"encoding {encoding!r}: expected 'rate' or 'latency'")


def levels(images: np.ndarray, scale: float) -> np.ndarray:
    """Rescales uint8 images of any shape to a full brightness of 255, for drawing or timing spikes."""
    if scale == 255:
        return images
    return np.rint(np.minimum(images / scale, 1) * 255).astype(np.uint8)


def draws(seed: tuple[int, ...], count: int) -> np.ndarray:
    """The random numbers of the rate encoding for a batch: uint8 [count], uniform over the 255 values 0 .. 254.

    The bytes come directly from Philox's output, whose stream NumPy promises to keep. It makes no such promise for
    `Generator` methods, and `Generator.integers` takes twice as long.
    """
    philox = np.random.Philox(np.random.SeedSequence(seed))
    drawn = _bytes(philox, count)
    while (rejected := np.flatnonzero(drawn == 255)).size:
        drawn[rejected] = _bytes(philox, rejected.size)
    return drawn


def _rate(images: np.ndarray, time_steps: int, seed: tuple[int, ...], first: int, batch: int) -> np.ndarray:
    """At each step a pixel spikes with probability pixel / 255, independently: never at 0, always at 255.

    It spikes if r < pixel, with r from `draws`, which makes that probability exact.
    """
    drawn = draws(seed, time_steps * batch * math.prod(images.shape[1:])).reshape(time_steps, batch, *images.shape[1:])
    return (drawn[:, first : first + len(images)] < images).view(np.uint8)


def _bytes(philox: np.random.Philox, count: int) -> np.ndarray:
    words = philox.random_raw(-(-count // 8))
    return words.astype("<u8", copy=False).view(np.uint8)[:count]


def _latency(images: np.ndarray, time_steps: int) -> np.ndarray:
    """One spike per pixel at step round((1 - pixel / 255) * (T - 1)): the brighter, the earlier; none at 0.

    Equals `snntorch.spikegen.latency(images / 255, T, normalize=True, linear=True, clip=True, threshold=t)`
    with 0 < t < 1 / 255. (snnTorch's default threshold of 0.01 also silences the values 1 and 2; without
    `clip`, pixels below the threshold spike late.) Computed in integers. Rounding never ties, because 255 is odd.
    """
    step = (2 * (255 - images.astype(np.int64)) * (time_steps - 1) + 255) // 510
    step[images == 0] = time_steps
    return (step == np.arange(time_steps).reshape(-1, 1, 1, 1, 1)).view(np.uint8)


DROPOUT = 4
"""Separates these draws from those of the rate encoding and the augmentation, whose seeds are (seed, 0 to 3,
number)."""


def dropout_sizes(model: ModelConfig) -> list[int]:
    """The number of neurons of each layer that dropout applies to, in order: those that feed a linear layer."""
    return [math.prod(neurons.shape) for neurons in model.graph.feeding(Linear)]


def dropout_masks(model: ModelConfig, share: float, seed: int, iteration: int, batch: int) -> list[np.ndarray]:
    """The masks of an iteration, one for each of `dropout_sizes`: bool [batch, neurons], True where a neuron is kept.

    A neuron is dropped for an image's whole window. The masks come directly from Philox's output, whose stream NumPy
    promises to keep, with 16 bits per neuron.

    Args:
        model: the network.
        share: fraction of the neurons to drop, in multiples of 1/65536.
        seed: the job's seed.
        iteration: counted from 0.
        batch: number of images.
    """
    counts: Sequence[int] = [batch * size for size in dropout_sizes(model)]
    words = np.random.Philox(np.random.SeedSequence((seed, DROPOUT, iteration))).random_raw(-(-sum(counts) // 4))
    stays = words.astype("<u8", copy=False).view("<u2")[: sum(counts)] >= round(share * 2**16)
    parts = np.split(stays, np.cumsum(counts)[:-1])
    return [part.reshape(batch, -1) for part in parts]
