"""Sets of records on disk, up to a size limit: a cache of data that can be recomputed.

A set is a folder whose name identifies everything that its records depend on. `records` contains them one after
another, `offsets.npy` the start of each, `sums.npy` the CRC-32 of each, and `MARK` the name of the set. The folder is
renamed last, so an incomplete set is never found. Only such folders are ever removed, and none if there is anything
else next to them, which may be the user's.
"""

import io
import os
import weakref
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from csnn_jax import reading
from csnn_jax.errors import UserError
from csnn_jax.files import Temporary, remove_folder, rename

LIMIT = 10_000_000_000
"""Maximum size of all sets in a folder, in bytes."""
MARK = "csnn_jax_set"
"""The file that marks a folder as a set."""
FILES = {MARK, "records", "offsets.npy", "sums.npy"}
"""The files of a set."""
HEADER = 128
"""Bytes before the values in a .npy file of one axis."""


class Unkept(Exception):
    """Raised if a set can't be stored; the message says why."""


class Shelf:
    """Sets of records.

    Args:
        folder: the sets are in its subfolder `sets`.
        limit: maximum size of all sets in bytes; the least recently used ones are removed first.
        tell: called with lines for the user.
    """

    def __init__(self, folder: Path, limit: float = LIMIT, tell: Callable[[str], object] = print):
        self.sets, self.limit, self._tell = folder / "sets", limit, tell

    def find(self, name: str) -> "FrameSet | None":
        """Returns an existing set. Removes a damaged one and reports it to the user.

        Raises:
            Unkept: a damaged set can't be removed.
        """
        where = self.sets / name
        if not is_set(where):
            return None
        try:
            records = FrameSet(where)
            os.utime(where)
        except (UserError, OSError, ValueError):
            self._refuse_beside_others(f"{where} is damaged")
            self._tell(f"Data: {where} is damaged and will be rebuilt")
            _remove(where)
            return None
        return records

    def put(self, name: str, records: Iterable[bytes]) -> "FrameSet":
        """Writes a set, after making room for it.

        Raises:
            OSError: the set can't be written.
            Unkept: there is no room for the set, or something else has its name.
        """
        where, offsets, sums = self.sets / name, [0], []
        if os.path.lexists(where) and not is_set(where):
            raise Unkept(f"{where} already exists and isn't a set of this cache")
        self.sets.mkdir(parents=True, exist_ok=True)
        with Temporary(where) as folder:
            folder.mkdir()
            (folder / MARK).write_text(name)
            with (folder / "records").open("wb") as file:
                for record in records:
                    offsets.append(offsets[-1] + file.write(record))
                    sums.append(zlib.crc32(record))
                    if offsets[-1] > self.limit:
                        raise Unkept(f"the set is larger than the {self.limit / 1e9:g} GB of {self.sets}")
            (folder / "offsets.npy").write_bytes(_saved(np.array(offsets, np.int64)))
            (folder / "sums.npy").write_bytes(_saved(np.array(sums, np.uint32)))
            self._make_room(_size(folder))
            rename(folder, where)
        return FrameSet(where)

    def _make_room(self, size: int) -> None:
        """Removes the least recently used sets until there is room for another one."""
        there = [one for one in self._entries() if is_set(one)]
        there.sort(key=lambda one: one.stat().st_mtime)
        sizes = list(map(_size, there))
        if sum(sizes) + size > self.limit:
            self._refuse_beside_others(f"{self.sets} is full")
        while sizes and sum(sizes) + size > self.limit:
            sizes.pop(0)
            _remove(there.pop(0))

    def _refuse_beside_others(self, why: str) -> None:
        """Raises Unkept if the folder contains anything but sets."""
        others = [one.name for one in self._entries() if not is_set(one) and os.path.lexists(one)]  # and still exists
        if others:
            raise Unkept(f"{why}, but nothing is removed next to {min(others)}, which isn't part of this cache")

    def _entries(self) -> list[Path]:
        return [one for one in self.sets.iterdir() if not one.name.startswith(".")]  # these are still being written


class FrameSet:
    """A set, open as long as it's in use. It's read, not memory-mapped, because mapped pages would count as memory.

    Args:
        folder: the set.

    Raises:
        UserError, OSError, ValueError: the set can't be read or is damaged.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._offsets, self._sums = _loaded(folder, "offsets", np.int64), _loaded(folder, "sums", np.uint32)
        with reading.opened(folder / "records", "records", 2**62, folder) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._sizes = np.diff(self._offsets)
        if len(self._sums) + 1 != len(self._offsets) or self._offsets[0] or (self._sizes < 0).any():
            raise ValueError("the offsets aren't those of records")
        if os.fstat(self._descriptor).st_size != self._offsets[-1]:
            raise ValueError("the size of records doesn't match their offsets")

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, number: int) -> bytes:
        """The bytes of a record.

        Raises:
            UserError: they differ from what was written.
        """
        record = os.pread(self._descriptor, int(self._sizes[number]), int(self._offsets[number]))
        if zlib.crc32(record) != self._sums[number]:
            raise UserError(f"{self._folder}: record {number} is damaged; remove the folder to have it rebuilt")
        return record


def is_set(where: Path) -> bool:
    """Whether a path is a set: a folder, not a link, with only the files of a set and marked with its name."""
    try:
        known = not where.is_symlink() and FILES.issuperset(os.listdir(where))
        return known and reading.read(where / MARK, "a mark", 1000, where).decode() == where.name
    except (OSError, UserError, UnicodeDecodeError):
        return False


def _saved(array: np.ndarray) -> bytes:
    """The contents of a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _loaded(folder: Path, name: str, dtype: type) -> np.ndarray:
    """An array of numbers as `_saved` writes it, byte for byte: `np.load` evaluates any header, at any length."""
    data = reading.read(folder / f"{name}.npy", "an array", inside=folder)
    array: np.ndarray = np.frombuffer(data[HEADER:], dtype)
    if _saved(array) != data:
        raise ValueError(f"{name}.npy isn't an array of {np.dtype(dtype)}")
    return array


def _remove(where: Path) -> None:
    try:
        remove_folder(where)
    except UserError as error:
        raise Unkept(str(error)) from None


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.iterdir())
