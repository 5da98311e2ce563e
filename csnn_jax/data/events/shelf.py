"""Sets of records on disk, within a limit: what was made once, and would be made again.

A set is a folder, whose name tells all that its records depend on. `records` holds them one after another,
`offsets.npy` where each begins, and `sums.npy` the CRC-32 of each. The folder gets its name when all is written, so
half of one is never found.
"""

import math
import os
import shutil
import weakref
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from csnn_jax.errors import UserError
from csnn_jax.files import Temporary, rename


class Full(Exception):
    """A set takes more than all of them may."""


class Shelf:
    """Sets of records.

    Args:
        folder: in whose `sets` they lie.
        limit: bytes that all of them may take; the ones that were not used for longest go first.
        tell: is given lines for the user.
    """

    def __init__(self, folder: Path, limit: float = math.inf, tell: Callable[[str], object] = print):
        self.sets, self.limit, self._tell = folder / "sets", limit, tell

    def find(self, name: str) -> "Records | None":
        """A set that is there; one that is damaged is removed, and the user is told."""
        where = self.sets / name
        if not where.is_dir():
            return None
        try:
            found = Records(where)
            os.utime(where)
        except (OSError, ValueError, EOFError):
            self._tell(f"Data: {where} is cut short, and made anew")
            shutil.rmtree(where, ignore_errors=True)
            return None
        return found

    def put(self, name: str, records: Iterable[bytes]) -> "Records":
        """Writes a set, and makes room for it.

        Raises:
            OSError: it can't be written.
            Full: it alone takes more than the limit.
        """
        where, offsets, sums = self.sets / name, [0], []
        self.sets.mkdir(parents=True, exist_ok=True)
        with Temporary(where) as folder:
            folder.mkdir()
            with (folder / "records").open("wb") as file:
                for record in records:
                    offsets.append(offsets[-1] + file.write(record))
                    sums.append(zlib.crc32(record))
                    if offsets[-1] > self.limit:
                        raise Full
            np.save(folder / "offsets.npy", np.array(offsets, np.int64))
            np.save(folder / "sums.npy", np.array(sums, np.uint32))
            self._make_room(_size(folder))
            rename(folder, where)
        return Records(where)

    def _make_room(self, size: int) -> None:
        """Removes the sets that were not used for longest until there is room for another one."""
        others = [one for one in self.sets.iterdir() if not one.name.startswith(".")]
        others.sort(key=lambda one: one.stat().st_mtime)
        sizes = list(map(_size, others))
        while sizes and sum(sizes) + size > self.limit:
            sizes.pop(0)
            shutil.rmtree(others.pop(0), ignore_errors=True)


class Records:
    """A set, open as long as anyone uses it. It is read, not mapped: a map's pages would count as memory.

    Args:
        folder: the set.

    Attributes:
        sizes: bytes of each record [N].

    Raises:
        OSError, ValueError, EOFError: it can't be read, or it is cut short.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._offsets, self._sums = (
            np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("offsets", "sums")
        )
        self._descriptor = os.open(folder / "records", os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        if os.fstat(self._descriptor).st_size != self._offsets[-1] or len(self._sums) + 1 != len(self._offsets):
            raise ValueError("records end elsewhere than the last of them")
        self.sizes = np.diff(self._offsets)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, number: int) -> bytes:
        """The bytes of a record.

        Raises:
            UserError: they are not those that were written.
        """
        record = os.pread(self._descriptor, int(self.sizes[number]), int(self._offsets[number]))
        if zlib.crc32(record) != self._sums[number]:
            raise UserError(f"{self._folder}: record {number} is damaged; remove the folder, and it is made anew")
        return record


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
