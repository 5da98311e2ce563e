"""What images are: arrays of a caller's, or those of any data set in the network's input shape."""

import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from csnn_jax.errors import UserError

if TYPE_CHECKING:
    from csnn_jax.config import ModelConfig

Shape = tuple[int, int, int]  # H, W, C
MOST_COUNT = 15
"""A pixel's events in a frame, above which they aren't counted."""


class Images(Protocol):
    """Images of a split, uint8 or float32, [N, H, W, C], or [N, T, H, W, C] where they have a time axis.

    Bytes are divided by the data's scale, floats are rounded to its multiples. NumPy's arrays, its memory maps and
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
    """Images that are made as they are read.

    `[rows]`, with an array of whole numbers or a single one, gives an array, and `[start:stop]` gives images again, of
    which `np.asarray` makes an array.

    Attributes:
        dtype, ndim, shape: as an array's.
        highest: the highest number that they may hold.
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
        """Tells these images from others, without making them."""


def as_bytes(images: Images) -> bytes:
    """What tells images from others: the bytes of an array, or what images that are made say of themselves."""
    return images.digest() if isinstance(images, MadeImages) else np.asarray(images).tobytes()


def highest_count(images: Images | Any) -> int | None:
    """The highest number of images that hold whole numbers from 0 on; None where they hold others."""
    if isinstance(images, MadeImages):
        return images.highest
    numbers = np.asarray(images)
    if numbers.dtype.kind == "f" and not (np.all(numbers == np.floor(numbers)) and numbers.min() >= 0):
        return None
    return int(numbers.max())


def as_images(images: Any, name: str, one: float = 1) -> Images:
    """What anybody gives as images, in the form that everything takes: bytes or floats.

    Args:
        images: of any shape: an array of NumPy's or JAX's, a tensor of torch's, or lists. Booleans and whole numbers
            from 0 to 255 become uint8, floats float32. Recordings stay as they are.
        name: of the images, for errors.
        one: the whole number that means full brightness, which True becomes.

    Raises:
        ValueError: they are no numbers, ragged, or whole numbers that are no bytes.
    """
    if isinstance(images, MadeImages):
        return images
    found = as_numbers(images, name)
    if found.dtype.kind == "b":
        return found * np.uint8(one) if one in range(1, 256) else found.astype(np.float32)
    if found.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which `check_images` refuses
            return found.astype(np.float32, copy=False)
    if found.dtype != np.uint8 and found.size:
        low, high = found.min(), found.max()
        if low < 0 or high > 255:
            raise ValueError(f"{name} go from {low} to {high}, expected whole numbers from 0 to 255, or floats")
    return found.astype(np.uint8, copy=False)


def as_numbers(values: Any, name: str) -> np.ndarray:
    """An array of booleans, whole numbers or floats.

    Raises:
        ValueError: there are others in it, or lists of different lengths.
    """
    torch = sys.modules.get("torch")  # which isn't imported here: without it nothing is a tensor
    try:
        found = np.asanyarray(values.detach().cpu() if torch and isinstance(values, torch.Tensor) else values)
    except (ValueError, TypeError, RuntimeError):  # lists of different lengths, tensors that need a gradient in a list
        found = np.empty((), object)
    if found.dtype.kind not in "buif":
        kind = "" if found.dtype == object else f" of {found.dtype}"
        raise ValueError(f"{name} are of type {type(values).__name__}{kind}, expected an array of numbers")
    return found


def check_images(images: Images | Any, model: "ModelConfig", name: str = "images") -> None:
    """Raises ValueError unless a network takes these images; says what they are and what it takes.

    Args:
        images: as `as_images` gives them, or an array of JAX's.
        model: the network.
        name: of the images, for errors.
    """
    check_shape(images, name, model.input_shape)
    if images.dtype == np.uint8:
        return
    if model.encoding != "direct":
        raise ValueError(f"{name} are {images.dtype}, expected bytes, which {model.encoding} encoding makes spikes of")
    if not str(images.dtype).startswith("float"):
        raise ValueError(f"{name} are {images.dtype}, expected uint8, or floats from 0 to 1")
    check_floats(np.asarray(images), model.pixel_scale, f"{name} go")


def check_shape(images: Images | Any, name: str, shape: Shape | None = None, why: str = "") -> None:
    """Raises ValueError unless images are [N, H, W, C] or [N, T, H, W, C]; says what is likely to be wrong.

    Args:
        images: anything with a shape.
        name: of the images, for errors.
        shape: height, width and channels that they must have; None: any.
        why: they must, for errors.
    """
    sizes = tuple(images.shape)
    fits = len(sizes) in (4, 5) and 0 not in sizes and (shape is None or sizes[-3:] == shape)
    hint = _axis(sizes, shape)
    if not fits or (hint and shape is None):
        pixels, why = ("H, W, C", "") if shape is None else (", ".join(map(str, shape)), why)
        raise ValueError(f"{name} are {list(sizes)}, expected [N, {pixels}] or [N, T, {pixels}]{why}{hint}")


def _axis(sizes: tuple[int, ...], shape: Shape | None) -> str:
    """What is likely to be wrong with the axes of images; empty: nothing that is known."""
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


def check_floats(images: np.ndarray, scale: float, what: str) -> None:
    """Raises ValueError unless floats are what a network takes; says what they are.

    A pixel's floats go from 0 to 1. Counts may also be whole numbers up to 255.

    Args:
        images: floats of any shape.
        scale: what the network divides bytes by.
        what: they are, and a verb, for errors.
    """
    low, high = float(np.min(images)), float(np.max(images))
    if low >= 0 and high <= 1:
        return
    if scale == 1 and low >= 0 and high <= 255 and (images == np.floor(images)).all():
        return
    expected = "whole numbers from 0 to 255, or floats from 0 to 1" if scale == 1 else "floats from 0 to 1, or uint8"
    raise ValueError(f"{what} from {low:g} to {high:g}, expected {expected}")


def to_uint8(images: np.ndarray, source: str) -> tuple[np.ndarray, list[str]]:
    """Keeps booleans and whole numbers as they are, and scales floats in [0, 1] to 0 .. 255.

    Args:
        images: an array of any shape.
        source: name of the data set, for errors and notes.

    Returns:
        The images as uint8, and a note for the user if that scaled them.

    Raises:
        UserError: whole numbers that are no bytes, or floats outside [0, 1].
    """
    low, high = images.min(), images.max()
    if images.dtype.kind in "bui" and low >= 0 and high <= 255:
        return images.astype(np.uint8, copy=False), []
    if images.dtype.kind == "f" and low >= 0 and high <= 1:
        note = f"{source}: {images.dtype} images scaled to 0..255"
        return np.rint(images * np.float32(255)).astype(np.uint8), [note]
    found = f"{images.dtype} images from {low} to {high}"
    raise UserError(f"{source}: {found}, expected whole numbers from 0 to 255, or floats from 0 to 1")


def fit(images: np.ndarray, shape: Shape, source: str) -> tuple[np.ndarray, list[str]]:
    """Resizes images (bilinear, antialiased) and turns colour grey or grey into colour, where needed.

    Grey is ITU-R 601 luma, as in Pillow's `convert("L")`; colour from grey repeats it.

    Args:
        images: uint8 [..., H', W', C'], any leading axes.
        shape: (H, W, C) to reach.
        source: name of the data set, for errors and notes.

    Returns:
        uint8 [..., H, W, C] (the same array where it fits already), and a note for the user per change.

    Raises:
        UserError: C' channels cannot become C.
    """
    found: Shape = images.shape[-3:]
    if found == shape:
        return images, []
    if found[2] != shape[2] and {found[2], shape[2]} != {1, 3}:
        flag = f"--input-shape {' '.join(map(str, shape))}"
        raise UserError(f"{flag}: expected {found[2]} as the number of channels, as {source} has; only 1 and 3 convert")
    notes = []
    if found[:2] != shape[:2]:
        notes.append(f"{source}: resized to {shape[0]}x{shape[1]} (bilinear, antialiased)")
    if found[2] != shape[2]:
        change = "grey repeated to colour" if shape[2] == 3 else "turned grey (ITU-R 601 luma)"
        notes.append(f"{source}: {change}")
    out = np.empty((images.size // max(1, int(np.prod(found))), *shape), np.uint8)
    for target, image in zip(out, images.reshape(-1, *found), strict=True):
        target[...] = _fit_one(image, shape)  # broadcasts a single channel
    return out.reshape(*images.shape[:-3], *shape), notes


def _fit_one(image: np.ndarray, shape: Shape) -> np.ndarray:
    from PIL import Image  # lazily: most runs need none of this

    if image.shape[2] == 3 and shape[2] == 1:
        planes = [Image.fromarray(image).convert("L")]
    else:
        planes = [Image.fromarray(plane) for plane in np.moveaxis(image, 2, 0)]
    size = (shape[1], shape[0])
    return np.stack([np.asarray(plane.resize(size, Image.Resampling.BILINEAR)) for plane in planes], axis=2)
