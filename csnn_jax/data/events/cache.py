"""Frames of recordings, packed on disk: each recording is decoded once, not in every run or epoch.

A data set has one folder for each way to divide it into frames. To free the space, delete the folder.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from csnn_jax.data.events.recordings import FrameImages, Recordings
from csnn_jax.data.events.records import Records, stored
from csnn_jax.progress import followed

FORMAT = 3
"""Changes whenever the packing or the computation of frames changes, so old sets are no longer found."""
CELLS, HALVES = 0, 1
"""The first byte of a packed recording: a list of cells with their values, or every cell in half a byte."""


@dataclass(frozen=True)
class Cache:
    """A cache of frames.

    Attributes:
        folder: has a folder for each data set and window; None: no caching.
        tell: called with lines for the user.
    """

    folder: Path | None = None
    tell: Callable[[str], object] = print

    def frames(self, name: str, train: Recordings, test: Recordings) -> tuple[FrameImages, FrameImages]:
        """The frames of a data set, from the cache if there is one. Each recording is read once, now or in an earlier
        run.

        Args:
            name: the kind of data set, for the name of the folder.
            train: its training recordings.
            test: its test recordings.

        Raises:
            UserError: a recording can't be used; the message names it.
        """
        every = train.joined(test)
        records = self.records(_folder(name, every), lambda: _packed(every))
        if records is not None:
            cached = CachedFrames(records, every)
            return cached[: len(train)], cached[len(train) :]
        if not every.made:
            count = len(every)
            for _ in followed((every[row] for row in range(count)), f"Data: checking {count:,} recordings", count):
                pass
        return train, test

    def records(self, name: str, make: Callable[[], Iterable[bytes]]) -> Records | None:
        """The records in the folder `name`, see `records.stored`; None without caching."""
        return None if self.folder is None else stored(self.folder / name, make, self.tell)


def _packed(recordings: Recordings) -> Iterator[bytes]:
    count = len(recordings)
    return followed((pack(recordings[row]) for row in range(count)), f"Data: caching {count:,} recordings", count)


def _folder(name: str, recordings: Recordings) -> str:
    """The folder of a data set's frames: its window, and a digest of everything that the frames depend on."""
    window = recordings.window
    stamps = [(path.stat().st_size, path.stat().st_mtime_ns) for path in recordings.files()]
    digest = sha256(recordings.digest() + f"{FORMAT} {stamps}".encode()).hexdigest()[:16]
    return f"{name}-{window.steps}x{window.shape[0]}x{window.shape[1]}-{window.by}-{digest}"


class CachedFrames(FrameImages):
    """Frames from a cache.

    Args:
        records: the packed frames.
        recordings: the recordings they come from.
    """

    def __init__(self, records: Records, recordings: Recordings):
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
