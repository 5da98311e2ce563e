"""Small arrays as PNG pictures: images, filters, feature maps; Pillow only."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

GROUND = (128, 128, 128, 0)
"""Color between tiles: transparent, so light and dark pages show through."""

_BLUES = np.array([[23, 27, 33], [20, 60, 110], [30, 110, 190], [110, 180, 240], [245, 250, 255]], float)
_SIGNED = np.array([[0, 80, 160], [110, 170, 220], [245, 245, 245], [240, 160, 100], [176, 70, 0]], float)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 pixels [H, W] (gray), [H, W, 3] or [H, W, 4]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def still(image: np.ndarray) -> np.ndarray:
    """A test image [H, W, C] or [T, H, W, C] as pixels for display, uint8 [H, W] or [H, W, 3].

    Frames are summed over time, and so are channels that aren't gray or RGB. Floats go from 0 to 1, or are counts.
    """
    image = _pixels(image)
    if image.ndim == 4:
        return _stretched(image.astype(float).sum((0, -1)))
    if image.shape[-1] == 3:
        return image
    return _stretched(image.astype(float).sum(-1)) if image.shape[-1] > 1 or image.max() <= 1 else image[..., 0]


def film(frames: np.ndarray) -> np.ndarray:
    """Frames [T, H, W, C] side by side, followed by their sum, as pixels for display: uint8 [H, (T + 1) W, 3].

    If there are two channels, OFF events are blue and ON events orange.
    """
    frames = _pixels(frames)
    pictures = [*frames, still(frames)]
    if frames.shape[-1] == 2:
        brighter = frames[..., 1].astype(float) - frames[..., 0]
        pictures[:-1] = signed(brighter, max(np.abs(brighter).max(), 1))
    elif frames.shape[-1] != 3:
        pictures[:-1] = _stretched(frames.astype(float).sum(-1))
    return np.concatenate([one if one.ndim == 3 else np.repeat(one[..., None], 3, -1) for one in pictures], axis=1)


def _pixels(image: np.ndarray) -> np.ndarray:
    """Converts floats to bytes, with 1.0 or the highest count as 255; bytes are returned unchanged."""
    return image if image.dtype == np.uint8 else np.rint(image * (255 / max(1, image.max()))).astype(np.uint8)


def _stretched(values: np.ndarray) -> np.ndarray:
    """Scales non-negative values to bytes, the largest to 255."""
    return np.round(values * (255 / max(values.max(), 1e-9))).astype(np.uint8)


def amounts(values: np.ndarray, most: float) -> np.ndarray:
    """Values of 0 to `most` in colors from dark to light, uint8 [..., 3]."""
    return _mapped(values / max(most, 1e-9), _BLUES)


def signed(values: np.ndarray, most: float) -> np.ndarray:
    """Values of -most to most in colors, blue below 0 and orange above, uint8 [..., 3]."""
    return _mapped(values / max(2 * most, 1e-9) + 0.5, _SIGNED)


def _mapped(share: np.ndarray, colors: np.ndarray) -> np.ndarray:
    at = np.linspace(0, 1, len(colors))
    share = np.nan_to_num(np.clip(share, 0, 1))
    return np.stack([np.interp(share, at, colors[:, channel]) for channel in range(3)], -1).round().astype(np.uint8)


def mounted(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles [H, W, 3] of one size in rows of `columns`, one pixel apart, uint8 [height, width, 4]."""
    height, width = tiles[0].shape[:2]
    rows = math.ceil(len(tiles) / columns)
    whole = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, 4), GROUND, np.uint8)
    for number, tile in enumerate(tiles):
        y, x = (number // columns) * (height + 1), (number % columns) * (width + 1)
        whole[y : y + height, x : x + width, :3] = tile
        whole[y : y + height, x : x + width, 3] = 255
    return whole
