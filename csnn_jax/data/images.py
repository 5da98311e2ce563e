"""Images from files and from a caller's arrays: what they consist of, and how they become a network's input."""

import math
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from csnn_jax.config.grid import MOST_INPUT
from csnn_jax.config.pixels import BYTE, Pixels
from csnn_jax.errors import UserError
from csnn_jax.machine import available_memory

if TYPE_CHECKING:
    from csnn_jax.config import ModelConfig

Shape = tuple[int, int, int]  # H, W, C
FLOAT_BITS = MOST_INPUT
"""Bits of floats, unless the first layer's weights need some of them (`datasets.fit_model`)."""
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
    """Bytes that identify images: those of an array, or the digest of computed images.

    Args:
        images: [N, H, W, C] or [N, T, H, W, C].
    """
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


def image_notes(images: Images, scale: float, source: str) -> list[str]:
    """The log's lines about images that are all equal, such as black ones, and about images that aren't scaled."""
    notes = []
    if isinstance(images, np.ndarray) and len(images) > 1 and all((image == images[0]).all() for image in images[1:]):
        notes.append(f"{source}: warning: all images are equal, so no network can learn from them")
    if scale == 1 and isinstance(images, np.ndarray):
        kind = "counts" if images.max() > 1 else "values of 0 and 1"
        notes.append(f"{source}: {kind} are used unscaled (scale 1)")
    return notes


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
    description = f"{images.dtype} images from {low} to {high}"
    raise UserError(f"{source}: {description}, expected whole numbers from 0 to 255, or floats from 0 to 1")


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
    original: Shape = images.shape[-3:]
    if original == shape:
        return images, []
    if original[2] != shape[2] and {original[2], shape[2]} != {1, 3}:
        flag, channels = (
            f"--input-shape {' '.join(map(str, shape))}",
            f"{original[2]} channel{'s' * (original[2] != 1)}",
        )
        raise UserError(f"{flag}: expected {channels}, as in {source}; only 1 and 3 can be converted")
    notes = []
    if original[:2] != shape[:2]:
        notes.append(f"{source}: resized to {shape[0]}x{shape[1]} (bilinear, antialiased)")
    if original[2] != shape[2]:
        change = "gray repeated to color" if shape[2] == 3 else "converted to gray (ITU-R 601 luma)"
        notes.append(f"{source}: {change}")
    out = empty((images.size // max(1, int(np.prod(original))), *shape), source)
    for target, image in zip(out, images.reshape(-1, *original), strict=True):
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


def for_network(
    images: Any, model: "ModelConfig", name: str = "images", on_device: type[Any] | tuple[()] = ()
) -> Images:
    """Converts a caller's images to what a network was trained on: bytes or counts, or floats.

    Args:
        images: as in `as_images`.
        model: the network.
        name: name of the images in error messages.
        on_device: as in `as_images`.

    Raises:
        ValueError: they don't fit the network; the message says what was given and expected.
    """
    images = as_images(images, name, model.pixels.brightest, on_device)
    check_images(images, model, name)
    return as_learned(images, model, name)


def as_images(images: Any, name: str, one: float = 1, on_device: type[Any] | tuple[()] = ()) -> Images:
    """Converts a caller's images to bytes or floats.

    Args:
        images: of any shape: a NumPy or JAX array, a torch tensor, or lists. Booleans and integers from 0 to 255 become
            uint8, floats become float32. Recordings are returned unchanged.
        name: name of the images in error messages.
        one: the integer for full brightness, used for True.
        on_device: a framework's type of arrays, which stay where they are if they're uint8 or float32.

    Raises:
        ValueError: they aren't numbers, are ragged, or are integers outside 0 to 255.
    """
    if isinstance(images, MadeImages) or (isinstance(images, on_device) and images.dtype in (np.uint8, np.float32)):
        return images
    array = as_numbers(images, name)
    if array.dtype.kind == "b":
        return array * np.uint8(one) if one in range(1, 256) else array.astype(np.float32)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # values that are too large become infinite; `check_images` rejects them
            return array.astype(np.float32, copy=False)
    if array.dtype != np.uint8 and array.size:
        low, high = array.min(), array.max()
        if low < 0 or high > 255:
            raise ValueError(f"{name} go from {low} to {high}, expected whole numbers from 0 to 255, or floats")
    return array.astype(np.uint8, copy=False)


def as_numbers(values: Any, name: str) -> np.ndarray:
    """Converts values to an array of booleans, integers or floats.

    Raises:
        ValueError: values of another type, or lists of different lengths.
    """
    torch = sys.modules.get("torch")  # unless someone imported it, there are no tensors
    try:
        converted = np.asanyarray(values.detach().cpu() if torch and isinstance(values, torch.Tensor) else values)
    except (ValueError, TypeError, RuntimeError):  # ragged lists, or lists of tensors that require gradients
        converted = np.empty((), object)
    if converted.dtype.kind not in "buif":
        kind = " of objects" if converted.dtype == object else f" of {converted.dtype}"
        raise ValueError(f"{name} are of type {type(values).__name__}{kind}, expected an array of numbers")
    return converted


def check_images(images: Images | Any, model: "ModelConfig", name: str = "images") -> None:
    """Raises ValueError unless the images fit a network, with what was given and expected.

    Args:
        images: as returned by `as_images`, or a JAX array.
        model: the network.
        name: name of the images in error messages.
    """
    check_shape(images, name, model.input_shape)
    if images.dtype == np.uint8:
        return
    if model.encoding != "direct":
        raise ValueError(f"{name} are {images.dtype}, expected bytes for {model.encoding} encoding")
    if not str(images.dtype).startswith("float"):
        raise ValueError(f"{name} are {images.dtype}, expected uint8, or floats from 0 to 1")
    check_floats(np.asarray(images), name, model.pixels.scale)


def check_shape(images: Images | Any, name: str, shape: Shape | None = None, why: str = "") -> None:
    """Raises ValueError unless images are [N, H, W, C] or [N, T, H, W, C], with a hint at the likely mistake.

    Args:
        images: anything with a shape.
        name: name of the images in error messages.
        shape: required height, width and channels; None: any.
        why: the reason for that shape in error messages.
    """
    sizes = tuple(images.shape)
    fits = len(sizes) in (4, 5) and 0 not in sizes and (shape is None or sizes[-3:] == shape)
    hint = " with at least one image" if sizes[:1] == (0,) else _axis(sizes, shape)
    if not fits or (hint and shape is None):
        pixels, why = ("H, W, C", "") if shape is None else (", ".join(map(str, shape)), why)
        raise ValueError(f"{name} are {list(sizes)}, expected [N, {pixels}] or [N, T, {pixels}]{why}{hint}")


def _axis(sizes: tuple[int, ...], shape: Shape | None) -> str:
    """The likely mistake in the axes of images; empty if none is recognized."""
    if shape is None:
        missing, first = len(sizes) == 3, len(sizes) in (4, 5) and sizes[-3] <= 3 < sizes[-1]
    elif sizes == shape:
        return ": a batch axis is missing, as in images[None]"
    else:
        first = sizes[-3:] == (shape[2], *shape[:2])
        missing = shape[2] == 1 and sizes[-2:] == shape[:2] and not first
    if missing:
        return ": a channel axis is missing, as in images[..., None]"
    return ": channels come last, as in numpy.moveaxis(images, -3, -1)" if first else ""


def check_floats(images: np.ndarray, name: str, scale: float | None = None) -> None:
    """Raises ValueError unless floats are finite and in a network's range, with a value or the range that isn't.

    Pixels are floats from 0 to 1. Counts may also be integers up to 255.

    Args:
        images: floats of any shape.
        name: name of the images in error messages.
        scale: the network divides bytes by this; None: as is usual for such images.
    """
    if not (finite := np.isfinite(images)).all():
        place = tuple(map(int, np.argwhere(~finite)[0]))
        raise ValueError(f"{name} are {images[place]} at {list(place)}, expected floats from 0 to 1")
    counts = (pixels_of(images).scale if scale is None else scale) == 1
    low, high = float(np.min(images)), float(np.max(images))
    if low < 0 or (high > 1 and not (counts and high <= 255 and (images == np.floor(images)).all())):
        expected = "whole numbers from 0 to 255, or floats from 0 to 1" if counts else "floats from 0 to 1, or uint8"
        raise ValueError(f"{name} go from {low:g} to {high:g}, expected {expected}")


def _of_255(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Floats times 255, rounded, and a mask of the floats that are bytes divided by 255."""
    units = np.float32(images) * 255
    whole = np.rint(units)
    return whole, (whole >= 0) & (whole <= 255) & (np.abs(units - whole) <= 2**-14)


def to_learn_from(images: Images) -> Images:
    """A caller's training images: floats become bytes if all of them are multiples of 1/255, as from torchvision."""
    if isinstance(images, MadeImages) or images.dtype == np.uint8 or highest_count(images) is not None:
        return images
    whole, fits = _of_255(np.asarray(images))
    return whole.astype(np.uint8) if fits.all() else images


def as_learned(images: Images, model: "ModelConfig", name: str = "images") -> Images:
    """Converts images to the form that a network was trained on: bytes or counts, or floats.

    If the network takes bytes, each image of multiples of 1/255 becomes bytes, regardless of the other images;
    otherwise bytes become floats. Other floats are kept, because the engines round them (`network.model.scaled_input`).

    Args:
        images: as accepted by `check_images`.
        model: the network.
        name: name of the images, for errors.

    Raises:
        ValueError: values larger than the range of the network's training data allows.
    """
    if isinstance(images, MadeImages) or not len(images) or (model.encoding != "direct" and images.dtype == np.uint8):
        return images
    if images.dtype != np.uint8:
        images = _bytes_again(np.asarray(images)) if model.pixels.scale == BYTE else np.asarray(images)
    elif not model.pixels.are_bytes:
        images = np.asarray(images).astype(np.float32) / np.float32(255)
    if images.dtype == np.uint8 and model.pixels.bits >= 8:
        return images
    most = 2.0**model.pixels.bits / (1 if images.dtype == np.uint8 else model.pixels.scale)
    if (high := float(np.max(np.asarray(images)))) > most:
        why = "the power of two above the largest value that the network was trained on"
        raise ValueError(f"{name} have values up to {high:g}, expected at most {most:g}, {why}")
    return images


def _bytes_again(images: np.ndarray) -> np.ndarray:
    """Converts images [N, ...] of 255ths: to bytes if all are, otherwise to floats with the values of their bytes."""
    whole, fits = _of_255(images)
    of_bytes = fits.reshape(len(images), -1).all(1)
    if of_bytes.all():
        return whole.astype(np.uint8)
    return np.where(of_bytes.reshape(-1, *[1] * (images.ndim - 1)), whole / np.float32(BYTE), images)


def as_floats(x: np.ndarray, model: "ModelConfig", dtype: str = "float32") -> np.ndarray:
    """A network's input as floats: bytes divided by its scale, floats rounded to multiples of 1 / scale.

    Args:
        x: uint8 or floats, of any shape.
        model: the network.
        dtype: `float32` or `float64`.
    """
    kind = np.dtype(dtype).type
    scale = kind(model.entering.scale)
    return (x.astype(kind) if x.dtype == np.uint8 else np.rint(x.astype(kind) * scale)) / scale
