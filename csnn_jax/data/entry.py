"""How images enter a network: as integer multiples of a power of two, which keeps its sums exact (docs/design.md)."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csnn_jax.config.grid import MOST_INPUT
from csnn_jax.config.network import PIXEL
from csnn_jax.data.images import Images, MadeImages, highest_count

if TYPE_CHECKING:
    from csnn_jax.config import ModelConfig

FLOAT_BITS = MOST_INPUT
"""Bits of floats, unless the first layer's weights need some of them (`fitted.fit_model`)."""


class Entry(NamedTuple):
    """How images enter a network: as integer multiples of 1 / scale, from 0 to 2^bits.

    Attributes:
        scale: power of two that pixel values are divided by.
        bits: bits of the largest value, as counted by `Grid`.
    """

    scale: float
    bits: int


def entry_of(images: Images, floats: bool = False) -> Entry:
    """Returns how the images of a training split enter a network.

    Args:
        images: [N, H, W, C], or [N, T, H, W, C] if they have a time axis.
        floats: whether they were floats that `to_uint8` scaled.

    Returns:
        For images, bytes divided by 256. For images of only 0 and 1, and for counts (bytes with a time axis), unchanged
            integers. For floats, steps as fine as `FLOAT_BITS` allow, up to the power of two above the largest value.
    """
    if floats or (images.ndim == 4 and images.dtype == np.uint8 and highest_count(images) != 1):
        return Entry(PIXEL, 8)
    highest = highest_count(images)
    if highest is not None and (images.ndim == 5 or highest <= 1):
        return Entry(1.0, max(highest - 1, 0).bit_length())
    exponent = int(np.ceil(np.log2(max(float(np.max(np.asarray(images))), 2.0**-8))))
    return Entry(2.0 ** (FLOAT_BITS - exponent), FLOAT_BITS)


def as_bytes_of_255(images: np.ndarray) -> np.ndarray | None:
    """The bytes of floats that are multiples of 1/255, as from torchvision's `ToTensor`; None if some aren't."""
    whole, fits = _of_255(images)
    return whole.astype(np.uint8) if images.size and fits.all() else None


def _of_255(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Floats times 255, rounded, and a mask of the floats that are bytes divided by 255."""
    units = np.float32(images) * 255
    whole = np.rint(units)
    return whole, (whole >= 0) & (whole <= 255) & (np.abs(units - whole) <= 2**-14)


def to_learn_from(images: Images) -> Images:
    """A caller's training images: floats become bytes if all of them are multiples of 1/255."""
    if isinstance(images, MadeImages) or images.dtype == np.uint8 or not len(images):
        return images
    found = as_bytes_of_255(np.asarray(images)) if highest_count(images) is None else None
    return images if found is None else found


def as_learned(images: Images, model: "ModelConfig", name: str = "images") -> Images:
    """Converts images to the form that a network was trained on: bytes or counts, or floats.

    If the network takes bytes, each image of multiples of 1/255 becomes bytes, regardless of the other images;
    otherwise bytes become floats. Other floats are kept, because the engines round them (`network.model.enter`).

    Args:
        images: as accepted by `check_images`.
        model: the network.
        name: name of the images, for errors.

    Raises:
        ValueError: values larger than the range of the network's training data allows.
    """
    if isinstance(images, MadeImages) or (model.encoding != "direct" and images.dtype == np.uint8):
        return images
    if images.dtype != np.uint8:
        images = _bytes_again(np.asarray(images)) if model.pixel_scale == PIXEL else np.asarray(images)
    elif not model.takes_bytes:
        images = np.asarray(images).astype(np.float32) / np.float32(255)
    if images.dtype == np.uint8 and model.pixel_bits >= 8:
        return images
    most = 2.0**model.pixel_bits / (1 if images.dtype == np.uint8 else model.pixel_scale)
    if len(images) and (high := float(np.max(np.asarray(images)))) > most:
        why = "the power of two above the largest value that the network was trained on"
        raise ValueError(f"{name} have values up to {high:g}, expected at most {most:g}, {why}")
    return images


def _bytes_again(images: np.ndarray) -> np.ndarray:
    """Converts images [N, ...] of 255ths: to bytes if all are, otherwise to floats with the values of their bytes."""
    whole, fits = _of_255(images)
    of_bytes = fits.reshape(len(images), -1).all(1)
    if of_bytes.all():
        return whole.astype(np.uint8)
    return np.where(of_bytes.reshape(-1, *[1] * (images.ndim - 1)), whole / np.float32(PIXEL), images)


def as_floats(x: np.ndarray, model: "ModelConfig", dtype: str = "float32") -> np.ndarray:
    """A network's input as floats: bytes divided by its scale, floats rounded to multiples of 1 / scale."""
    kind = np.dtype(dtype).type
    scale = kind(model.input_scale)
    return (x.astype(kind) if x.dtype == np.uint8 else np.rint(x.astype(kind) * scale)) / scale


def scale_note(images: Images, scale: float, source: str) -> list[str]:
    """The log's line about counts or images of 0 and 1; empty for other images."""
    if scale != 1 or not isinstance(images, np.ndarray):
        return []
    kind = "counts" if images.max() > 1 else "values of 0 and 1"
    return [f"{source}: {kind} are used unscaled (scale 1)"]
