"""Converts picture files of any size to the network's input."""

import itertools
import warnings
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from csnn_jax import reading
from csnn_jax.data.images import fit
from csnn_jax.errors import UserError

EXPECTED = "a picture (PNG, JPEG)"
MOST_PIXELS = 2**26
"""Maximum size of a picture, which takes up to 21 bytes per pixel until it's resized."""
MOST_BYTES = 2**30
"""Maximum size of its file: 16 bytes per pixel."""
READ = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
"""Pillow's names of the formats that are read. Its decoders of others print warnings, or run other programs."""


@dataclass(frozen=True)
class Picture:
    """A picture from a file, ready for the network.

    Attributes:
        pixels: uint8 [H, W, C].
        notes: changes and warnings, one line each.
    """

    pixels: np.ndarray
    notes: tuple[str, ...]


def read(path: str, input_shape: tuple[int, int, int], digit: bool) -> Picture:
    """Reads a picture file.

    Args:
        path: a file in one of the formats in `READ`; transparent parts become white.
        input_shape: (H, W, C) of the network.
        digit: prepare it as MNIST's digits were, in gray; otherwise resize it, and invert it if gray and dark on light.

    Raises:
        UserError: the file is missing, isn't a picture, is animated, or shows nothing.
    """
    image = opened(path)
    notes: list[str] = []
    if not digit and input_shape[2] != 1:
        pixels = np.asarray(image.convert("RGB"))
    else:
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


def opened(path: str | Path, formats: tuple[str, ...] = READ) -> Image.Image:
    """Reads a picture file as a viewer shows it: upright, with white where it's transparent.

    Args:
        path: the file.
        formats: the accepted ones of `READ`.

    Returns:
        An 8-bit image in mode "L" if the file is gray, otherwise "RGB". 16-bit values are divided by 257 and rounded,
        except in color files, of which Pillow only reads the upper 8 bits.

    Raises:
        UserError: the file is missing, damaged, not a picture, animated or in another format.
    """
    with reading.opened(path, EXPECTED, MOST_BYTES) as data:
        if not data.peek(1):
            raise UserError(f"{path}: is empty, expected {EXPECTED}")
        try:
            with warnings.catch_warnings(action="ignore"):  # about large pictures and damaged tags
                _check_sums(data)
                with Image.open(data, formats=READ) as file:
                    if file.width * file.height > MOST_PIXELS:
                        size = f"{file.width}x{file.height} pixels"
                        raise UserError(f"{path}: has {size}, expected at most {MOST_PIXELS:,}")
                    _check_still(file, path, formats)
                    ImageOps.exif_transpose(file, in_place=True)  # phones store photos sideways, with a tag
                    return _on_white(_eight_bits(file))
        except UserError:
            raise
        except UnidentifiedImageError:
            raise UserError(f"{path}: is damaged or isn't a picture, expected {EXPECTED}") from None
        except Exception:  # whatever Pillow raises on damaged bytes; its messages are about its code
            raise UserError(f"{path}: is damaged or truncated, expected {EXPECTED}") from None


def _check_sums(data: BufferedReader) -> None:
    """Makes Pillow raise an exception if a PNG is damaged anywhere: it decodes no further than the last pixel."""
    with Image.open(data, formats=READ) as file:
        if file.format == "PNG":
            file.verify()
    data.seek(0)


def _check_still(file: Image.Image, path: str | Path, formats: tuple[str, ...]) -> None:
    """Raises UserError unless a file is in one of these formats and isn't animated."""
    frames = sum(1 for _ in itertools.islice(ImageSequence.Iterator(file), 2))
    file.seek(0)
    kind = "JPEG" if file.format == "MPO" else file.format  # a phone's photo, followed by a preview or depth map
    description = f"a {kind} file" if frames == 1 or file.format == "MPO" else f"animated ({kind})"
    if kind not in formats or description.startswith("animated"):
        raise UserError(f"{path}: is {description}, expected a still picture ({', '.join(formats)})")


def _on_white(image: Image.Image) -> Image.Image:
    """Converts an image to mode "L" or "RGB", on white where it's transparent."""
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if not image.has_transparency_data:
        return image.convert(mode)
    drawn = image if image.mode == "RGBA" else image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB").convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Converts 16-bit gray to 8 bits, which Pillow would clip at 255; a transparent value becomes alpha."""
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    doubled = np.clip(values, 0, 65535).astype(np.int32)
    doubled *= 2
    gray = Image.fromarray(((doubled + 257) // 514).astype(np.uint8))  # values / 257, rounded; there are no ties
    if (clear := image.info.get("transparency")) is not None:
        gray.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return gray


def _as_mnist(gray: np.ndarray, shape: tuple[int, int], path: str) -> tuple[np.ndarray, list[str]]:
    """Frames a bright digit on dark [height, width] as in MNIST; returns uint8 [H, W, 1] and notes."""
    ground = np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]]))
    # Anything no brighter than the background is removed; the brightest stroke becomes 255, as in MNIST.
    ink = np.clip(gray.astype(np.float32) - ground, 0, None)
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
    return _centered(small, shape)[:, :, None], [note, *_doubts(digit)]


def _doubts(ink: np.ndarray) -> list[str]:
    """Warnings that a cropped picture [height, width] may not show a single digit."""
    high, wide = (max(1, length // 20) for length in ink.shape)
    edges = (ink[:high].any(0), ink[-high:].any(0), ink[:, :wide].any(1), ink[:, -wide:].any(1))
    hollow = (ink > 0).mean() < 0.5  # a straight 1 fills its box
    if hollow and all(edge.mean() > 0.7 for edge in edges):
        return ["warning: looks like a frame around the picture, expected one digit on a plain background"]
    columns = ink.sum(0, dtype=np.float64) / ink.sum(dtype=np.float64)
    starts = np.flatnonzero(np.diff(columns > 0, prepend=False))  # of strokes and of gaps
    if (np.add.reduceat(columns, starts) > 0.15).sum() > 1:
        return ["warning: looks like more than one digit, expected one"]
    return []


def _centered(digit: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Puts the digit on black, with its center of mass as close to the middle as fits."""
    frame = np.zeros(shape, np.uint8)
    where = []
    for axis in (0, 1):
        mass = digit.sum(1 - axis, dtype=np.float64)
        center = (mass * (np.arange(len(mass)) + 0.5)).sum() / mass.sum()
        where.append(int(np.clip(round(shape[axis] / 2 - center), 0, shape[axis] - digit.shape[axis])))
    frame[where[0] : where[0] + digit.shape[0], where[1] : where[1] + digit.shape[1]] = digit
    return frame
