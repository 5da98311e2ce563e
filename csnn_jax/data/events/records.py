"""Records on disk that can be made again: a folder with the records one after another, and where each ends.

The folder is written under another name and renamed, so it's never incomplete. Its name says what it holds, with a
digest of everything that the records depend on.
"""

import os
import shutil
import weakref
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from csnn_jax import reading
from csnn_jax.errors import UserError
from csnn_jax.files import Temporary, rename

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


def _written(folder: Path, records: Iterable[bytes]) -> Records:
    folder.parent.mkdir(parents=True, exist_ok=True)
    index: list[tuple[int, int]] = []
    with Temporary(folder) as made:
        made.mkdir()
        with (made / "records").open("wb") as file:
            for record in records:
                file.write(record)
                index.append((file.tell(), zlib.crc32(record)))
        (made / "index").write_bytes(np.array(index, "<i8").tobytes())
        rename(made, folder)
    return Records(folder)
