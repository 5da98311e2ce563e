"""Frames of recordings, packed on disk: a second start decodes no recording, and neither does an epoch.

A set's name is a digest of all that its frames depend on: the files with their sizes and times, the rules of frames,
and `FORMAT`.
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
"""Changes whenever the packing or the making of frames does, so that old sets are no longer found."""
CELLS, HALVES = 0, 1
"""The first byte of a recording: a list of cells with their values, or every cell in half a byte."""


@dataclass(frozen=True)
class Cache:
    """Where frames are kept.

    Attributes:
        folder: holds the sets; None: nothing is kept.
        limit: bytes that all of them may take; the ones that were not used for longest go first.
        tell: is given lines for the user.
    """

    folder: Path | None = None
    limit: float = LIMIT
    tell: Callable[[str], object] = print

    @property
    def shelf(self) -> Shelf | None:
        """Where sets are kept, if they are."""
        return None if self.folder is None else Shelf(self.folder, self.limit, self.tell)

    def keep(self, recordings: Recordings) -> FrameImages:
        """Recordings whose frames come from the cache where there is one. Each has been decoded once, now or before.

        Raises:
            UserError: a recording that can't be used; names it.
        """
        shelf, count = self.shelf, len(recordings)
        if shelf is not None and (records := self._records(shelf, recordings)) is not None:
            return Kept(records, recordings)
        if not recordings.made:
            for _ in followed((recordings[row] for row in range(count)), f"Data: checks {count:,} recordings", count):
                pass
        return recordings

    def _records(self, shelf: Shelf, recordings: Recordings) -> FrameSet | None:
        """The packed frames of all recordings, made if they are not there; None where they can't be kept."""
        name, count = _key(recordings), len(recordings)
        told = f"Data: makes frames of {count:,} recordings, to be kept in {shelf.sets}"

        def packed() -> Iterator[bytes]:
            yield from followed((pack(recordings[row]) for row in range(count)), told, count)

        try:
            return shelf.find(name) or shelf.put(name, packed())
        except OSError as error:
            self.tell(f"Data: {shelf.sets} can't be written ({error.strerror}); goes on without a cache")
        except Unkept as error:
            self.tell(f"Data: {error}; goes on without a cache")
        return None


class Kept(FrameImages):
    """Frames that a cache holds.

    Args:
        records: the packed frames of a set.
        recordings: whose frames they are.
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
    """Packs frames whose values are below 16: as a list of cells, or in half a byte each, whichever is shorter."""
    flat = frames.ravel()
    cells = np.flatnonzero(flat)
    if 5 * len(cells) < (flat.size + 1) // 2:
        return bytes([CELLS]) + cells.astype("<u4").tobytes() + flat[cells].tobytes()
    even = np.append(flat, np.uint8(0)) if flat.size % 2 else flat
    return bytes([HALVES]) + (even[::2] << 4 | even[1::2]).tobytes()


def unpack(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The frames that `pack` has packed, uint8 [T, H, W, 2]."""
    size, body = math.prod(shape), packed[1:]
    if packed[0] == CELLS:
        count = len(body) // 5
        flat = np.zeros(size, np.uint8)
        flat[np.frombuffer(body[: 4 * count].tobytes(), "<u4")] = body[4 * count :]
        return flat.reshape(shape)
    return np.stack([body >> 4, body & 15], 1).ravel()[:size].reshape(shape)


def _key(recordings: Recordings) -> str:
    """The name of a set: a digest of all that its frames depend on."""
    stamps = ((path.stat().st_size, path.stat().st_mtime_ns) for path in recordings.files())
    return sha256(recordings.digest() + f"{FORMAT} {list(stamps)}".encode()).hexdigest()[:32]
