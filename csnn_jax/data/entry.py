"""How images enter a network: as whole multiples of a power of two, on which its sums are exact (docs/design.md)."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csnn_jax.config.grid import MOST_INPUT
from csnn_jax.config.network import PIXEL
from csnn_jax.data.images import Images, MadeImages, highest_count

if TYPE_CHECKING:
    from csnn_jax.config import ModelConfig

FLOAT_BITS = MOST_INPUT
"""Bits of floats, unless the first layer's weights need some (`fitted.fit_model`)."""


class Entry(NamedTuple):
    """How images enter a network: as whole multiples of 1 / scale, at most 2^bits of them.

    Attributes:
        scale: what pixel values are divided by, a power of two.
        bits: of the largest value, as `Grid` counts them.
    """

    scale: float
    bits: int


def entry_of(images: Images, floats: bool = False) -> Entry:
    """How a training split enters a network.

    Args:
        images: [N, H, W, C], or [N, T, H, W, C] where they have a time axis of their own.
        floats: they were floats, which `to_uint8` has scaled.

    Returns:
        Bytes divided by 256 for images; whole numbers for those of 0 and 1 only, and with a time axis, where they are
        counts; floats as finely as `FLOAT_BITS` allow, up to the power of two above the largest.
    """
    if floats or (images.ndim == 4 and images.dtype == np.uint8 and highest_count(images) != 1):
        return Entry(PIXEL, 8)
    highest = highest_count(images)
    if highest is not None and (images.ndim == 5 or highest <= 1):
        return Entry(1.0, max(highest - 1, 0).bit_length())
    exponent = int(np.ceil(np.log2(max(float(np.max(np.asarray(images))), 2.0**-8))))
    return Entry(2.0 ** (FLOAT_BITS - exponent), FLOAT_BITS)


def as_bytes_of_255(images: np.ndarray) -> np.ndarray | None:
    """The bytes of which floats are 255ths, as torchvision's `ToTensor` makes them; None: they are others."""
    units = np.float32(images) * 255
    whole = np.rint(units)
    fits = images.size and whole.min() >= 0 and whole.max() <= 255 and np.abs(units - whole).max() <= 2**-14
    return whole.astype(np.uint8) if fits else None


def to_learn_from(images: Images) -> Images:
    """Images of a caller's to learn from: floats that are 255ths become the bytes that they were."""
    if (
        isinstance(images, MadeImages)
        or images.dtype == np.uint8
        or not len(images)
        or highest_count(images) is not None
    ):
        return images
    found = as_bytes_of_255(np.asarray(images))
    return images if found is None else found


def as_learned(images: Images, model: "ModelConfig", name: str = "images") -> Images:
    """Images in the form that a network has learned from: bytes or counts, or floats.

    Floats that are 255ths become bytes where the network takes bytes, and bytes become floats where it doesn't. Other
    floats stay, for the engines round them (`network.model.enter`).

    Args:
        images: as `check_images` passes them.
        model: the network.
        name: of the images, for errors.

    Raises:
        ValueError: larger values than those that the network has learned from leave room for.
    """
    if isinstance(images, MadeImages):
        return images
    if images.dtype != np.uint8:
        images = np.asarray(images)
        if model.pixel_scale == PIXEL and (found := as_bytes_of_255(images)) is not None:
            return found
    elif not model.takes_bytes:
        images = np.asarray(images).astype(np.float32) / np.float32(255)
    elif model.pixel_bits == 8 or model.encoding != "direct":
        return images
    most = 2.0**model.pixel_bits / (1 if images.dtype == np.uint8 else model.pixel_scale)
    if model.encoding == "direct" and len(images) and (high := float(np.max(np.asarray(images)))) > most:
        raise ValueError(f"{name} go up to {high:g}, expected at most {most:g}, as the network was trained on")
    return images


def as_floats(x: np.ndarray, model: "ModelConfig", dtype: str = "float32") -> np.ndarray:
    """A network's input as floats: bytes divided by its scale, floats rounded to whole multiples of 1 / scale."""
    kind = np.dtype(dtype).type
    scale = kind(model.input_scale)
    return (x.astype(kind) if x.dtype == np.uint8 else np.rint(x.astype(kind) * scale)) / scale


def scale_note(images: Images, scale: float, source: str) -> list[str]:
    """What the log says of counts and of images of 0 and 1: one line or none."""
    if scale != 1 or not isinstance(images, np.ndarray):
        return []
    kind = "counts" if images.max() > 1 else "values of 0 and 1"
    return [f"{source}: {kind} enter as they are (scale 1)"]
