"""Moves training images slightly, in NumPy, so JAX and torch train on identical images."""

import math
from typing import NamedTuple

import numpy as np

from csnn_jax.config.job import Config
from csnn_jax.data.images import Images, pixels_of
from csnn_jax.errors import UserError

STREAM = 3
"""Separates these draws from those of the rate encoding, whose seeds are (seed, 0 to 2, number)."""
DROPS = 5
"""Separates the draws of dropped events from the others; those of dropout have the seeds (seed, 4, number)."""
BLOCK = 2**15
"""Pixels that are processed at once, so their coordinates stay in the cache."""


class Moves(NamedTuple):
    """How each image of a batch is mirrored, shifted, rotated and scaled; one value per image.

    Attributes:
        shift: pixels down and to the right, float64 [batch, 2].
        turn: degrees counterclockwise about the center, float64 [batch].
        scale: scale factor about the center, float64 [batch].
        mirror: whether left and right are swapped first, bool [batch].
    """

    shift: np.ndarray
    turn: np.ndarray
    scale: np.ndarray
    mirror: np.ndarray


class Augmentation:
    """Makes moved copies of the training images, different ones in each iteration.

    Args:
        images: uint8 [N, H, W, C], or [N, T, H, W, C]; all frames of an example are moved the same way.
        amounts: largest shift (pixels), rotation (degrees) and scaling (fraction) of an image; None: no moves.
        seed: the job's seed.
        flip: whether to mirror half of the images, left to right.
        drop: fraction of the events to drop; only for counts with a time axis.
    """

    def __init__(
        self,
        images: Images,
        amounts: tuple[float, float, float] | None,
        seed: int,
        flip: bool = False,
        drop: float = 0.0,
    ):
        self._images, self._amounts, self._seed = images, amounts or (0, 0, 0), seed
        self._flip, self._drop = flip, drop
        self._nearest = images.ndim == 5 or pixels_of(images).scale == 1

    @classmethod
    def of(cls, config: Config, images: Images) -> "Augmentation | None":
        """The augmentation of a job's `--augment`, `--flip` and `--event-drop`; None without them.

        Raises:
            UserError: events would be dropped from images that aren't event counts, or images are floats.
        """
        settings = config.data
        asked = {
            "--augment": settings.augment is not None,
            "--flip": settings.flip,
            "--event-drop": settings.event_drop > 0,
        }
        if images.dtype != np.uint8 and (flags := [flag for flag, wanted in asked.items() if wanted]):
            raise UserError(f"{flags[0]}: the training images are {images.dtype}, expected bytes")
        if settings.event_drop and (images.ndim != 5 or config.model.scale != 1):
            wanted = f"expected a data set of recordings, but {settings.dataset} has images"
            raise UserError(f"--event-drop {settings.event_drop:g}: {wanted}")
        if not any(asked.values()):
            return None
        return cls(images, settings.augment, config.train.seed, settings.flip, settings.event_drop)

    def batch(self, iteration: int, index: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        """Moved copies of the images `index` [batch]. They depend only on seed, iteration and position in the batch.

        Counts and images of 0 and 1 must keep their values, so these and all images with a time axis use the nearest
        pixel.

        Returns:
            The copies at `rows` of the batch: uint8 [rows, H, W, C], or [rows, T, H, W, C].
        """
        moves = draw(self._amounts, len(index), (self._seed, STREAM, iteration), self._flip)
        moved = move(self._images[index[rows]], Moves(*(part[rows] for part in moves)), self._nearest)
        if self._drop:
            for place, frames in zip(range(len(index))[rows], moved, strict=True):
                frames[...] = thinned(frames, self._drop, (self._seed, DROPS, iteration, place))
        return moved


def thinned(counts: np.ndarray, share: float, seed: tuple[int, ...]) -> np.ndarray:
    """Drops each event of a recording with the same probability.

    Args:
        counts: events of each pixel in each frame, uint8 of any shape.
        share: fraction of the events to drop, in multiples of 1/65536.
        seed: integers >= 0 that identify the recording in its batch.
    """
    cells = np.repeat(np.arange(counts.size), counts.ravel())
    words = np.random.Philox(np.random.SeedSequence(seed)).random_raw(-(-len(cells) // 4))
    stays = words.astype("<u8", copy=False).view("<u2")[: len(cells)] >= round(share * 2**16)
    return np.bincount(cells[stays], minlength=counts.size).astype(np.uint8).reshape(counts.shape)


def draw(amounts: tuple[float, float, float], count: int, seed: tuple[int, ...], flip: bool = False) -> Moves:
    """Draws random moves, uniform within +-amounts.

    They come directly from Philox's output, whose stream NumPy promises to keep. A word's upper 53 bits give an amount,
    and the lowest bit of an image's first word decides whether it's mirrored.

    Args:
        amounts: largest shift (pixels), rotation (degrees) and scaling (fraction) of an image.
        count: number of images. The moves of earlier images don't depend on it.
        seed: integers >= 0 that identify the batch.
        flip: whether to mirror half of the images.
    """
    words = np.random.Philox(np.random.SeedSequence(seed)).random_raw(4 * count).reshape(count, 4)
    uniform = (words >> np.uint64(11)) * 2.0**-52 - 1
    shift, rotation, scale = amounts
    mirror = (words[:, 0] & np.uint64(1) == 1) & flip
    return Moves(shift * uniform[:, :2], rotation * uniform[:, 2], 1 + scale * uniform[:, 3], mirror)


def move(images: np.ndarray, moves: Moves, nearest: bool = False) -> np.ndarray:
    """Mirrors, scales and rotates each image about its center, then shifts it; pixels from outside are zero.

    It's a single resampling. Coordinates are rounded to 1/256 pixel, and everything after that is integer
    arithmetic. Moves that map pixels onto pixels therefore copy bytes, and every machine gives the same images, even if
    its sines and cosines differ.

    Args:
        images: uint8 [batch, H, W, C], or [batch, T, H, W, C]; all frames of an example are moved alike.
        moves: one per image.
        nearest: use the nearest pixel, which gives no new values; otherwise interpolate between four (bilinear).

    Raises:
        ValueError: images of the wrong type or rank, or not one move per image.
    """
    if images.dtype != np.uint8 or images.ndim not in (4, 5):
        description = f"{images.dtype} {list(images.shape)}"
        raise ValueError(f"images are {description}, expected uint8 [batch, H, W, C] or [batch, T, H, W, C]")
    if counts := {len(part) for part in moves} - {len(images)}:
        raise ValueError(f"{counts.pop()} moves for {len(images)} images, expected one for each")
    frames = images.ndim == 5
    pixels = np.moveaxis(images, 1, 3) if frames else images
    shape = pixels.shape
    pixels = pixels.reshape(*shape[:3], -1)
    moved = np.empty(pixels.shape, np.uint8)
    sample, count = _nearest if nearest else _bilinear, max(1, BLOCK // max(1, shape[1] * shape[2]))
    for first in range(0, len(images), count):
        rows = slice(first, first + count)
        turned = np.where(moves.mirror[rows, None, None, None], pixels[rows, :, ::-1], pixels[rows])
        sample(turned, *_sources(Moves(*(part[rows] for part in moves)), *shape[1:3]), moved[rows])
    moved = moved.reshape(shape)
    return np.ascontiguousarray(np.moveaxis(moved, 3, 1)) if frames else moved


def _sources(moves: Moves, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from: row and column, int32 [batch, H, W], in 1/256 pixel.

    Coordinates start and end one pixel outside the image, where everything is zero.
    """
    # libm's sine and cosine: NumPy's depend on the instruction set.
    angles = [math.radians(turn) for turn in moves.turn]
    cos, sin = (np.array([function(angle) for angle in angles]) / moves.scale for function in (math.cos, math.sin))
    down, right = (np.arange(n) - (n - 1) / 2 - moves.shift[:, axis, None] for axis, n in enumerate((height, width)))

    def axis(by_row: np.ndarray, by_column: np.ndarray, size: int) -> np.ndarray:
        along = by_column[:, None] * right + ((size - 1) / 2 + 1)
        at = 256 * (by_row[:, None] * down)[:, :, None] + (256 * along + 0.5)[:, None]
        return np.clip(at, 0, 256 * (size + 1), out=at).astype(np.int32)

    return axis(cos, sin, height), axis(-sin, cos, width)


def _nearest(pixels: np.ndarray, row: np.ndarray, column: np.ndarray, out: np.ndarray) -> None:
    """Writes the pixel nearest to each source. `pixels` and `out`: uint8 [batch, H, W, K]."""
    batch, height, width, depth = pixels.shape
    padded = np.zeros((batch, height + 2, width + 2, depth), np.uint8)
    padded[:, 1:-1, 1:-1] = pixels
    np.take(padded.reshape(-1, depth), _flat((row + 128) >> 8, (column + 128) >> 8, height, width), 0, out)


def _bilinear(pixels: np.ndarray, row: np.ndarray, column: np.ndarray, out: np.ndarray) -> None:
    """Interpolates between the four pixels around each source. `pixels` and `out`: uint8 [batch, H, W, K].

    The four are packed into one word, so a single gather fetches them. Both rows are then weighted at once, in the
    halves of the word, because 255 * 256 fits in 16 bits.
    """
    batch, height, width, depth = pixels.shape
    at = _flat(row >> 8, column >> 8, height, width)
    down, right = (row & 255).astype(np.uint32), (column & 255).astype(np.uint32)
    padded = np.zeros((depth, batch, height + 3, width + 3), np.uint32)
    padded[:, :, 1:-2, 1:-2] = np.moveaxis(pixels, 3, 0)
    upper = padded[..., :-1] | padded[..., 1:] << 8
    words = upper[:, :, :-1] | upper[:, :, 1:] << 16
    for channel in range(depth):
        word = words[channel].reshape(-1).take(at)
        rows = (word & 0x00FF00FF) * (256 - right) + (word >> 8 & 0x00FF00FF) * right
        weighed = (rows & 0xFFFF) * (256 - down) + (rows >> 16) * down
        out[..., channel] = (weighed + 2**15) >> 16


def _flat(row: np.ndarray, column: np.ndarray, height: int, width: int) -> np.ndarray:
    """Flat index of each (row, column) in consecutive images of (height + 2, width + 2) pixels."""
    image = np.arange(len(row), dtype=np.int32)[:, None, None]
    return (image * (height + 2) + row) * (width + 2) + column
