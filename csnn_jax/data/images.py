"""Images of any data set into uint8 images of the network's input shape."""

from typing import Any, Protocol

import numpy as np

from csnn_jax.errors import UserError

Shape = tuple[int, int, int]  # H, W, C


class Images(Protocol):
    """Images of a split, uint8 [N, H, W, C], or [N, T, H, W, C] where they have a time axis.

    An array of NumPy is one, and so is a memory map. Others make what they are asked for: `[rows]`, with an array of
    whole numbers or a single one, gives an array, and `[start:stop]` gives images again, of which `np.asarray` makes an
    array. They also have `digest()`, see `as_bytes`.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any, /) -> Any: ...


def as_bytes(images: Images) -> bytes:
    """What tells images from others: the bytes of an array, else what the images say of themselves by `digest()`."""
    return images.tobytes() if isinstance(images, np.ndarray) else images.digest()  # type: ignore[attr-defined]


def highest_count(images: Images | Any) -> int | None:
    """The highest number of images that hold whole numbers from 0 on; None where they hold others.

    Images that are made as they are read tell it as their `highest`.
    """
    if isinstance(highest := getattr(images, "highest", None), int):
        return highest
    numbers = np.asarray(images)
    if numbers.dtype.kind == "f" and not (np.all(numbers == np.floor(numbers)) and numbers.min() >= 0):
        return None
    return int(numbers.max())


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


def scale_of(images: Images, floats: bool) -> float:
    """The value that means 1.0 in a training split.

    Args:
        images: uint8 [N, H, W, C], or [N, T, H, W, C] where they have a time axis of their own.
        floats: they were floats, which `to_uint8` has scaled.

    Returns:
        255 for images; 1 where there are only 0 and 1, and for whole numbers with a time axis, which are counts.
    """
    if floats:
        return 255.0
    return 1.0 if images.ndim == 5 or np.max(np.asarray(images)) <= 1 else 255.0


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
