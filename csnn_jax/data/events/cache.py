"""Frames of recordings, packed on disk: each recording is decoded once, not in every run or epoch.

A data set has one folder for each way to divide it into frames. To free the space, delete the folder.
"""

import fcntl
import math
import os
import shutil
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from csnn_jax import reading
from csnn_jax.data.events.frames import Recordings
from csnn_jax.errors import UserError
from csnn_jax.files import Temporary, rename
from csnn_jax.progress import followed

FORMAT = 3
"""Changes whenever the packing or the computation of frames changes, so old sets are no longer found."""
CELLS, HALVES = 0, 1
"""The first byte of a packed recording: a list of cells with their values, or every cell in half a byte."""
FILES = {"records", "index"}


class Records:
    """Records of a folder, open as long as they're in use.

    They're read, not memory-mapped, because mapped pages would count as memory.

    Args:
        folder: the folder.

    Raises:
        UserError, OSError, ValueError: it can't be read or is damaged.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        index = np.frombuffer(reading.read(folder / "index", "an index", inside=folder), "<i8").reshape(-1, 2)
        self._ends, self._sums = index[:, 0], index[:, 1]
        with reading.opened(folder / "records", "records", 2**62, folder) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._sizes = np.diff(self._ends, prepend=0)
        if (self._sizes < 0).any() or os.fstat(self._descriptor).st_size != self._sizes.sum():
            raise ValueError("the index doesn't match the records")

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, number: int) -> bytes:
        """The bytes of a record.

        Raises:
            UserError: they differ from what was written.
        """
        size = int(self._sizes[number])
        record = os.pread(self._descriptor, size, int(self._ends[number]) - size)
        if zlib.crc32(record) != self._sums[number]:
            raise UserError(f"{self._folder}: record {number} is damaged; remove the folder to have it made again")
        return record


def stored(folder: Path, make: Callable[[], Iterable[bytes]], tell: Callable[[str], object]) -> Records | None:
    """The records of a folder, which is made first if it's missing, and again if it's damaged.

    Args:
        folder: the folder.
        make: makes the records.
        tell: called with lines for the user.

    Returns:
        The records; None if they can't be stored, which the user is told.
    """
    try:
        _remove_leftovers(folder)
        records = _intact(folder, tell) or _written(folder, make())
    except OSError as error:
        tell(f"Data: {folder} can't be written ({error.strerror or error}); continuing without a cache")
        return None
    size = sum(path.stat().st_size for path in folder.iterdir())
    tell(f"Data: cached in {folder} ({size / 1e6:.1f} MB)")
    return records


def _intact(folder: Path, tell: Callable[[str], object]) -> Records | None:
    """Existing records. Removes damaged ones, but only if nothing else is in the folder."""
    if not os.path.lexists(folder):
        return None
    try:
        return Records(folder)
    except (UserError, OSError, ValueError):
        if folder.is_symlink() or not folder.is_dir() or not FILES.issuperset(os.listdir(folder)):
            raise FileExistsError(f"{folder.name} has other files") from None
        tell(f"Data: {folder} is damaged and is made again")
        shutil.rmtree(folder)
        return None


def _remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left while they wrote this folder; living ones hold a lock on theirs."""
    for leftover in folder.parent.glob(f".{folder.name}.{'[0-9a-f]' * 8}"):
        with suppress(OSError), _opened(leftover) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if FILES.issuperset(os.listdir(descriptor)):
                shutil.rmtree(leftover)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _written(folder: Path, records: Iterable[bytes]) -> Records:
    folder.parent.mkdir(parents=True, exist_ok=True)
    index: list[tuple[int, int]] = []
    with Temporary(folder) as made:
        made.mkdir()
        with _opened(made) as descriptor, (made / "records").open("wb") as file:
            with suppress(OSError):  # network file systems may have no locks on folders, nor remove leftovers then
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            for record in records:
                file.write(record)
                index.append((file.tell(), zlib.crc32(record)))
        (made / "index").write_bytes(np.array(index, "<i8").tobytes())
        rename(made, folder)
    return Records(folder)


@dataclass(frozen=True)
class Cache:
    """A cache of frames.

    Attributes:
        folder: has a folder for each data set and window; None: no caching.
        tell: called with lines for the user.
    """

    folder: Path | None = None
    tell: Callable[[str], object] = print

    def frames(self, name: str, recordings: Recordings, needed: bool = True) -> Recordings:
        """The frames of recordings, from the cache if there is one. Each is read once, now or in an earlier run.

        Args:
            name: the kind and part of the data set, for the name of the folder.
            recordings: the recordings.
            needed: whether they'll all be used; if not, those that aren't cached yet are read only on use.

        Raises:
            UserError: a recording can't be used; the message names it.
        """
        folder, count = _folder(name, recordings), len(recordings)
        if not needed and (self.folder is None or not (self.folder / folder).exists()):
            return recordings
        records = self.records(folder, lambda: _packed(recordings))
        if records is not None:
            return recordings.cached(lambda row: unpack(np.frombuffer(records[row], np.uint8), recordings.shape[1:]))
        if not recordings.made:
            for _ in followed((recordings[row] for row in range(count)), f"Data: checking {count:,} recordings", count):
                pass
        return recordings

    def records(self, name: str, make: Callable[[], Iterable[bytes]]) -> Records | None:
        """The records in the folder `name`, see `stored`; None without caching."""
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
