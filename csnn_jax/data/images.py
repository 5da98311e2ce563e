"""The images of data sets: what they consist of, and how they get the shape of a network's input."""

import math
from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np

from csnn_jax.config.grid import MOST_INPUT
from csnn_jax.config.pixels import Pixels
from csnn_jax.errors import UserError
from csnn_jax.machine import available_memory

Shape = tuple[int, int, int]  # H, W, C
FLOAT_BITS = MOST_INPUT
"""Bits of floats, unless the first layer's weights need some of them (`fitted.fit_model`)."""
MOST_COUNT = 15
"""Maximum count of a pixel's events in a frame; counts saturate there."""


class Images(Protocol):
    """Images of a split, uint8 or float32, [N, H, W, C], or [N, T, H, W, C] with a time axis.

    Bytes are divided by the data's scale, floats are rounded to its multiples. NumPy arrays, memory maps and
    `MadeImages` are images.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any, /) -> Any: ...


class MadeImages(ABC):
    """Images that are computed when they are read.

    `[rows]`, with an array of integers or a single one, returns an array. `[start:stop]` returns images again, which
    `np.asarray` turns into an array.

    Attributes:
        dtype, ndim, shape: as for an array.
        highest: the largest value that they can have.
    """

    dtype: np.dtype[Any]
    ndim: int
    shape: tuple[int, ...]
    highest: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, rows: Any, /) -> Any: ...

    @abstractmethod
    def digest(self) -> bytes:
        """Identifies these images without computing them."""


def as_bytes(images: Images) -> bytes:
    """Bytes that identify images: those of an array, or the digest of computed images."""
    return images.digest() if isinstance(images, MadeImages) else np.asarray(images).tobytes()


def highest_count(images: Images | Any) -> int | None:
    """The largest value of images of non-negative integers; None for other images."""
    if isinstance(images, MadeImages):
        return images.highest
    numbers = np.asarray(images)
    if numbers.dtype.kind == "f" and not (np.all(numbers == np.floor(numbers)) and numbers.min() >= 0):
        return None
    return int(numbers.max())


def pixels_of(images: Images, floats: bool = False) -> Pixels:
    """Returns how the images of a training split enter a network.

    Args:
        images: [N, H, W, C], or [N, T, H, W, C] if they have a time axis.
        floats: whether they were floats that `to_uint8` scaled.

    Returns:
        For images, bytes divided by 256. For images of only 0 and 1, and for counts (bytes with a time axis), unchanged
            integers. For floats, steps as fine as `FLOAT_BITS` allow, up to the power of two above the largest value.
    """
    if floats or (images.ndim == 4 and images.dtype == np.uint8 and highest_count(images) != 1):
        return Pixels()
    highest = highest_count(images)
    if highest is not None and (images.ndim == 5 or highest <= 1):
        return Pixels(1.0, max(highest - 1, 0).bit_length())
    exponent = int(np.ceil(np.log2(max(float(np.max(np.asarray(images))), 2.0**-8))))
    return Pixels(2.0 ** (FLOAT_BITS - exponent), FLOAT_BITS)


def scale_note(images: Images, scale: float, source: str) -> list[str]:
    """The log's line about counts or images of 0 and 1; empty for other images."""
    if scale != 1 or not isinstance(images, np.ndarray):
        return []
    kind = "counts" if images.max() > 1 else "values of 0 and 1"
    return [f"{source}: {kind} are used unscaled (scale 1)"]


def to_uint8(images: np.ndarray, source: str) -> tuple[np.ndarray, list[str]]:
    """Keeps booleans and integers unchanged, and scales floats in [0, 1] to 0 .. 255.

    Args:
        images: an array of any shape.
        source: name of the data set, for errors and notes.

    Returns:
        The images as uint8, and a note for the user if they were scaled.

    Raises:
        UserError: integers outside 0 to 255, or floats outside [0, 1].
    """
    low, high = images.min(), images.max()
    if images.dtype.kind in "bui" and low >= 0 and high <= 255:
        return images.astype(np.uint8, copy=False), []
    if images.dtype.kind == "f" and low >= 0 and high <= 1:
        note = f"{source}: {images.dtype} images scaled to 0..255"
        return np.rint(images * np.float32(255)).astype(np.uint8), [note]
    found = f"{images.dtype} images from {low} to {high}"
    raise UserError(f"{source}: {found}, expected whole numbers from 0 to 255, or floats from 0 to 1")


def empty(shape: tuple[int, ...], source: str) -> np.ndarray:
    """Memory for images [N, H, W, C], uint8; raises UserError if there isn't enough."""
    if (size := math.prod(shape)) > (free := available_memory()):
        asked = f"{shape[0]:,} images of {'x'.join(map(str, shape[1:]))}"
        raise UserError(f"{source}: {asked} take {size:,} bytes of memory, expected at most {free:,}")
    return np.empty(shape, np.uint8)


def fit(images: np.ndarray, shape: Shape, source: str) -> tuple[np.ndarray, list[str]]:
    """Resizes images (bilinear, antialiased) and converts between color and gray, where needed.

    Gray is ITU-R 601 luma, as in Pillow's `convert("L")`; gray is repeated to get color.

    Args:
        images: uint8 [..., H', W', C'], any leading axes.
        shape: (H, W, C) of the result.
        source: name of the data set, for errors and notes.

    Returns:
        uint8 [..., H, W, C] (the same array if it already fits), and a note for the user per change.

    Raises:
        UserError: C' channels can't be converted to C.
    """
    found: Shape = images.shape[-3:]
    if found == shape:
        return images, []
    if found[2] != shape[2] and {found[2], shape[2]} != {1, 3}:
        flag = f"--input-shape {' '.join(map(str, shape))}"
        raise UserError(
            f"{flag}: expected {found[2]} channel{'s' * (found[2] != 1)}, as in {source}; only 1 and 3 can be converted"
        )
    notes = []
    if found[:2] != shape[:2]:
        notes.append(f"{source}: resized to {shape[0]}x{shape[1]} (bilinear, antialiased)")
    if found[2] != shape[2]:
        change = "gray repeated to color" if shape[2] == 3 else "converted to gray (ITU-R 601 luma)"
        notes.append(f"{source}: {change}")
    out = empty((images.size // max(1, int(np.prod(found))), *shape), source)
    for target, image in zip(out, images.reshape(-1, *found), strict=True):
        target[...] = _fit_one(image, shape)  # broadcasts a single channel
    return out.reshape(*images.shape[:-3], *shape), notes


def _fit_one(image: np.ndarray, shape: Shape) -> np.ndarray:
    from PIL import Image  # imported lazily, because most runs don't need it

    if image.shape[2] == 3 and shape[2] == 1:
        planes = [Image.fromarray(image).convert("L")]
    else:
        planes = [Image.fromarray(plane) for plane in np.moveaxis(image, 2, 0)]
    size = (shape[1], shape[0])
    return np.stack([np.asarray(plane.resize(size, Image.Resampling.BILINEAR)) for plane in planes], axis=2)
