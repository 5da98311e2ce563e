"""Images that a caller passes as arrays, tensors or lists, in the form that a network takes."""

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from csnn_jax.config.pixels import BYTE
from csnn_jax.data.images import Images, MadeImages, Shape, highest_count

if TYPE_CHECKING:
    from csnn_jax.config import ModelConfig


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
    found = as_numbers(images, name)
    if found.dtype.kind == "b":
        return found * np.uint8(one) if one in range(1, 256) else found.astype(np.float32)
    if found.dtype.kind == "f":
        with np.errstate(over="ignore"):  # values that are too large become infinite; `check_images` rejects them
            return found.astype(np.float32, copy=False)
    if found.dtype != np.uint8 and found.size:
        low, high = found.min(), found.max()
        if low < 0 or high > 255:
            raise ValueError(f"{name} go from {low} to {high}, expected whole numbers from 0 to 255, or floats")
    return found.astype(np.uint8, copy=False)


def as_numbers(values: Any, name: str) -> np.ndarray:
    """Converts values to an array of booleans, integers or floats.

    Raises:
        ValueError: values of another type, or lists of different lengths.
    """
    torch = sys.modules.get("torch")  # unless someone imported it, there are no tensors
    try:
        found = np.asanyarray(values.detach().cpu() if torch and isinstance(values, torch.Tensor) else values)
    except (ValueError, TypeError, RuntimeError):  # ragged lists, or lists of tensors that require gradients
        found = np.empty((), object)
    if found.dtype.kind not in "buif":
        kind = "" if found.dtype == object else f" of {found.dtype}"
        raise ValueError(f"{name} are of type {type(values).__name__}{kind}, expected an array of numbers")
    return found


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
    check_finite(images, name)
    check_floats(np.asarray(images), model.pixels.scale, f"{name} go")


def check_finite(images: Images | Any, name: str) -> None:
    """Raises ValueError if floats are NaN or infinite, with the position of the first one."""
    if images.dtype == np.uint8 or (finite := np.isfinite(values := np.asarray(images))).all():
        return
    place = tuple(map(int, np.argwhere(~finite)[0]))
    raise ValueError(f"{name} are {values[place]} at {list(place)}, expected floats from 0 to 1")


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
    hint = _axis(sizes, shape)
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


def check_floats(images: np.ndarray, scale: float, what: str) -> None:
    """Raises ValueError unless floats are in a network's range, with the range that was found.

    Pixels are floats from 0 to 1. Counts may also be integers up to 255.

    Args:
        images: floats of any shape.
        scale: the network divides bytes by this.
        what: subject and verb of the error message.
    """
    low, high = float(np.min(images)), float(np.max(images))
    if low >= 0 and high <= 1:
        return
    if scale == 1 and low >= 0 and high <= 255 and (images == np.floor(images)).all():
        return
    expected = "whole numbers from 0 to 255, or floats from 0 to 1" if scale == 1 else "floats from 0 to 1, or uint8"
    raise ValueError(f"{what} from {low:g} to {high:g}, expected {expected}")


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
    otherwise bytes become floats. Other floats are kept, because the engines round them (`network.model.scaled_input`).

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
        images = _bytes_again(np.asarray(images)) if model.pixels.scale == BYTE else np.asarray(images)
    elif not model.pixels.are_bytes:
        images = np.asarray(images).astype(np.float32) / np.float32(255)
    if images.dtype == np.uint8 and model.pixels.bits >= 8:
        return images
    most = 2.0**model.pixels.bits / (1 if images.dtype == np.uint8 else model.pixels.scale)
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
    return np.where(of_bytes.reshape(-1, *[1] * (images.ndim - 1)), whole / np.float32(BYTE), images)


def as_floats(x: np.ndarray, model: "ModelConfig", dtype: str = "float32") -> np.ndarray:
    """A network's input as floats: bytes divided by its scale, floats rounded to multiples of 1 / scale."""
    kind = np.dtype(dtype).type
    scale = kind(model.entering.scale)
    return (x.astype(kind) if x.dtype == np.uint8 else np.rint(x.astype(kind) * scale)) / scale
