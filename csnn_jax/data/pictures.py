"""Picture files of any size into the network's input."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from csnn_jax.data.images import fit
from csnn_jax.errors import UserError


@dataclass(frozen=True)
class Picture:
    """A picture that was read from a file and made ready for the network.

    Attributes:
        pixels: uint8 [H, W, C].
        notes: what was done to it, and warnings, one line each.
    """

    pixels: np.ndarray
    notes: tuple[str, ...]


def read(path: str, input_shape: tuple[int, int, int], digit: bool) -> Picture:
    """Reads a picture file.

    Args:
        path: PNG, JPEG or anything else that Pillow reads; transparency is laid on white.
        input_shape: (H, W, C) of the network.
        digit: prepare it as MNIST's digits were, in grey; else it is resized, and inverted if grey and dark on light.

    Raises:
        UserError: the file is missing, is no picture, or shows nothing.
    """
    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file)  # as every viewer shows a phone's photo
            drawn = _eight_bits(upright).convert("RGBA")
    except IsADirectoryError:
        raise UserError(f"{path}: is a directory, expected a picture (PNG, JPEG)") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, expected a picture (PNG, JPEG)") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: expected a picture (PNG, JPEG): {error}") from None
    image = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB")
    pixels = np.asarray(image)
    notes: list[str] = []
    if digit or input_shape[2] == 1:
        pixels = np.asarray(image.convert("L"))[:, :, None]
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        if np.median(border) > 127:
            notes.append("dark on light: inverted")
            pixels = 255 - pixels
    if digit and pixels.shape[:2] != input_shape[:2]:
        pixels, changes = _as_mnist(pixels[:, :, 0], input_shape[:2], path)
        notes += changes
    fitted, changes = fit(pixels[None], input_shape, path)
    return Picture(fitted[0], (*notes, *changes))


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey in 8 bits, which Pillow's conversion would cut off at 255."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray(np.clip(np.asarray(image) / 257, 0, 255).round().astype(np.uint8))


def _as_mnist(grey: np.ndarray, shape: tuple[int, int], path: str) -> tuple[np.ndarray, list[str]]:
    """A bright digit on a dark ground [height, width] in MNIST's frame: (uint8 [H, W, 1], what was done)."""
    ground = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    # Whatever is no brighter than the paper is ground; the brightest stroke becomes 255, as in MNIST.
    ink = np.clip(grey.astype(np.float32) - ground, 0, None)
    if ink.max() < 16:
        raise UserError(f"{path}: nothing stands out from the background, expected a picture of a digit")
    ink *= 255 / ink.max()
    ink[ink < 64] = 0
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = round(min(shape) * 20 / 28)
    scale = box / max(digit.shape)
    size = (max(1, round(digit.shape[1] * scale)), max(1, round(digit.shape[0] * scale)))
    small = np.asarray(Image.fromarray(digit.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS))
    note = f"cropped to {digit.shape[1]}x{digit.shape[0]}, scaled to {size[0]}x{size[1]}, centered by mass"
    return _centred(small, shape)[:, :, None], [note, *_doubts(digit)]


def _doubts(ink: np.ndarray) -> list[str]:
    """Why a cropped picture [height, width] may not show one digit."""
    high, wide = (max(1, length // 20) for length in ink.shape)
    edges = (ink[:high].any(0), ink[-high:].any(0), ink[:, :wide].any(1), ink[:, -wide:].any(1))
    hollow = (ink > 0).mean() < 0.5  # a straight 1 fills its box
    if hollow and all(edge.mean() > 0.7 for edge in edges):
        return ["warning: looks like a frame around the picture, expected one digit on a plain background"]
    columns = ink.sum(0, dtype=np.float64) / ink.sum(dtype=np.float64)
    starts = np.flatnonzero(np.diff(columns > 0, prepend=False) & (columns > 0))
    if (np.add.reduceat(columns, starts) > 0.15).sum() > 1:
        return ["warning: looks like more than one digit, expected one"]
    return []


def _centred(digit: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The digit in a black frame, its centre of mass in the middle as far as it stays inside."""
    frame = np.zeros(shape, np.uint8)
    where = []
    for axis in (0, 1):
        mass = digit.sum(1 - axis, dtype=np.float64)
        centre = (mass * (np.arange(len(mass)) + 0.5)).sum() / mass.sum()
        where.append(int(np.clip(round(shape[axis] / 2 - centre), 0, shape[axis] - digit.shape[axis])))
    frame[where[0] : where[0] + digit.shape[0], where[1] : where[1] + digit.shape[1]] = digit
    return frame
