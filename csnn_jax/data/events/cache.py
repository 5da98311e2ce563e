"""Frames of recordings, packed on disk: each recording is decoded once, not in every run or epoch.

A set's name is a digest of everything that its frames depend on: the files with their sizes and times, the frame
settings, and `FORMAT`.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from csnn_jax.data.events.recordings import FrameImages, Recordings
from csnn_jax.data.events.shelf import LIMIT, FrameSet, Shelf, Unkept
from csnn_jax.progress import followed

FORMAT = 2
"""Changes whenever the packing or the computation of frames changes, so old sets are no longer found."""
CELLS, HALVES = 0, 1
"""The first byte of a packed recording: a list of cells with their values, or every cell in half a byte."""


@dataclass(frozen=True)
class Cache:
    """A cache of frames.

    Attributes:
        folder: folder of the sets; None: no caching.
        limit: maximum size of all sets in bytes; the least recently used ones are removed first.
        tell: called with lines for the user.
    """

    folder: Path | None = None
    limit: float = LIMIT
    tell: Callable[[str], object] = print

    @property
    def shelf(self) -> Shelf | None:
        """The shelf of the sets; None without caching."""
        return None if self.folder is None else Shelf(self.folder, self.limit, self.tell)

    def keep(self, recordings: Recordings) -> FrameImages:
        """The frames of recordings, from the cache if there is one. Each is decoded once, now or in an earlier run.

        Raises:
            UserError: a recording can't be used; the message names it.
        """
        shelf, count = self.shelf, len(recordings)
        if shelf is not None and (records := self._records(shelf, recordings)) is not None:
            return Kept(records, recordings)
        if not recordings.made:
            for _ in followed((recordings[row] for row in range(count)), f"Data: checking {count:,} recordings", count):
                pass
        return recordings

    def _records(self, shelf: Shelf, recordings: Recordings) -> FrameSet | None:
        """The packed frames of all recordings, computed if missing; None if they can't be stored."""
        name, count = _key(recordings), len(recordings)
        told = f"Data: caching the frames of {count:,} recordings in {shelf.sets}"

        def packed() -> Iterator[bytes]:
            yield from followed((pack(recordings[row]) for row in range(count)), told, count)

        try:
            return shelf.find(name) or shelf.put(name, packed())
        except OSError as error:
            self.tell(f"Data: {shelf.sets} can't be written ({error.strerror}); continuing without a cache")
        except Unkept as error:
            self.tell(f"Data: {error}; continuing without a cache")
        return None


class Kept(FrameImages):
    """Frames from a cache.

    Args:
        records: the packed frames of a set.
        recordings: the recordings they come from.
    """

    def __init__(self, records: FrameSet, recordings: Recordings):
        super().__init__(range(len(recordings)), recordings.window)
        self._records, self._recordings = records, recordings

    def one(self, place: int) -> np.ndarray:
        packed = np.frombuffer(self._records[place], np.uint8)
        return unpack(packed, (self.window.steps, *self.window.shape, 2))

    def digest(self) -> bytes:
        return self._recordings.only(self.places).digest()


def pack(frames: np.ndarray) -> bytes:
    """Packs frames with values below 16, as a list of cells or in half a byte each, whichever is shorter."""
    flat = frames.ravel()
    cells = np.flatnonzero(flat)
    if 5 * len(cells) < (flat.size + 1) // 2:
        return bytes([CELLS]) + cells.astype("<u4").tobytes() + flat[cells].tobytes()
    even = np.append(flat, np.uint8(0)) if flat.size % 2 else flat
    return bytes([HALVES]) + (even[::2] << 4 | even[1::2]).tobytes()


def unpack(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `pack`: uint8 [T, H, W, 2]."""
    size, body = math.prod(shape), packed[1:]
    if packed[0] == CELLS:
        count = len(body) // 5
        flat = np.zeros(size, np.uint8)
        flat[np.frombuffer(body[: 4 * count].tobytes(), "<u4")] = body[4 * count :]
        return flat.reshape(shape)
    return np.stack([body >> 4, body & 15], 1).ravel()[:size].reshape(shape)


def _key(recordings: Recordings) -> str:
    """The name of a set: a digest of everything its frames depend on."""
    stamps = ((path.stat().st_size, path.stat().st_mtime_ns) for path in recordings.files())
    return sha256(recordings.digest() + f"{FORMAT} {list(stamps)}".encode()).hexdigest()[:32]
