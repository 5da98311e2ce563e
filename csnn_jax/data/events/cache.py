"""Frames of recordings, packed on disk: a second start decodes no recording, and neither does an epoch.

A set of recordings is a folder, which is named after all that its frames depend on: the files with their sizes and
times, the rules of frames, and `FORMAT`. `packed` holds the recordings one after another, `offsets.npy` where each
begins, and `rows.npy` which of the set they are. The folder gets its name when all is written, so half of one is never
found.
"""

import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from csnn_jax.data.events.recordings import FrameImages, Recordings
from csnn_jax.errors import UserError
from csnn_jax.files import Temporary, rename
from csnn_jax.progress import followed

FORMAT = 1
"""Changes whenever the packing or the making of frames does, so that old folders are no longer found."""
CELLS, HALVES = 0, 1
"""The first byte of a recording: a list of cells with their values, or every cell in half a byte."""


@dataclass(frozen=True)
class Cache:
    """Where frames are kept, and how many.

    Attributes:
        folder: holds `frames`, with a folder for each set of recordings; None: nothing is kept.
        limit: bytes that all of them may take; the ones that were not used for longest go first.
        skip_bad: leave out recordings that can't be used, and say how many; else the first of them is an error.
        tell: is given lines for the user.
    """

    folder: Path | None = None
    limit: float = math.inf
    skip_bad: bool = False
    tell: Callable[[str], object] = print

    def keep(self, recordings: Recordings) -> tuple[FrameImages, np.ndarray]:
        """Recordings whose frames come from the cache where there is one, and which of the set they are [N].

        Raises:
            UserError: a recording that can't be used; none is left.
        """
        if self.folder is None and not self.skip_bad:
            return recordings, np.arange(len(recordings))
        where = None if self.folder is None else self.folder / "frames" / _key(recordings)
        found = None if where is None else self._opened(where, recordings)
        if found is None:
            found = self._made(where, recordings)
        images, rows = found
        if not len(rows):
            raise UserError(f"--skip-bad: left out all {len(recordings)} recordings, expected one that can be used")
        bad = len(recordings) - len(rows)
        if bad and not self.skip_bad:  # an earlier start left them out
            missing = min(set(range(len(recordings))) - set(rows.tolist()))
            recordings[missing]  # names what is wrong with it
        if bad:
            self.tell(f"Data: {bad} of {len(recordings)} recordings can't be used and are left out (--skip-bad)")
        return images, rows

    def _opened(self, where: Path, recordings: Recordings) -> tuple[FrameImages, np.ndarray] | None:
        if not where.is_dir():
            return None
        try:
            offsets, rows = (np.load(where / f"{name}.npy", allow_pickle=False) for name in ("offsets", "rows"))
            sound = len(offsets) == len(rows) + 1 and (where / "packed").stat().st_size == offsets[-1]
            os.utime(where)
        except (OSError, ValueError, EOFError):
            sound = False
        if not sound:
            self.tell(f"Data: frames in {where} are cut short, and made anew")
            shutil.rmtree(where, ignore_errors=True)
            return None
        return Kept(where / "packed", offsets, recordings.only(rows)), rows

    def _made(self, where: Path | None, recordings: Recordings) -> tuple[FrameImages, np.ndarray]:
        """Goes through all recordings, and keeps their frames if there is a place for them."""
        try:
            if where is not None:
                where.parent.mkdir(parents=True, exist_ok=True)
                with Temporary(where) as folder:
                    folder.mkdir()
                    self._fill(folder, recordings)
                    self._make_room(where.parent, sum(path.stat().st_size for path in folder.iterdir()))
                    rename(folder, where)
                made = self._opened(where, recordings)
                if made is not None:
                    return made
        except OSError as error:
            self.tell(f"Data: {where.parent} can't be written ({error.strerror}); goes on without a cache")  # type: ignore[union-attr]
        except _TooLarge:
            self.tell(f"Data: frames take more than --cache-limit {self.limit / 1e9:g} GB; goes on without a cache")
        rows = [row for row, _ in self._usable(recordings)] if self.skip_bad else list(range(len(recordings)))
        return recordings.only(rows), np.array(rows, int)

    def _fill(self, folder: Path, recordings: Recordings) -> None:
        offsets, rows = [0], []
        with (folder / "packed").open("wb") as file:
            told = f"Data: makes frames of {len(recordings):,} recordings, to be kept in {folder.parent}"
            for row, frames in followed(self._usable(recordings), told, len(recordings)):
                offsets.append(offsets[-1] + file.write(pack(frames)))
                rows.append(row)
                if offsets[-1] > self.limit:
                    raise _TooLarge
        np.save(folder / "offsets.npy", np.array(offsets, np.int64))
        np.save(folder / "rows.npy", np.array(rows, np.int64))

    def _usable(self, recordings: Recordings) -> Iterator[tuple[int, np.ndarray]]:
        for row in range(len(recordings)):
            try:
                yield row, recordings[row]
            except UserError:
                if not self.skip_bad:
                    raise

    def _make_room(self, folder: Path, size: int) -> None:
        """Removes the sets that were not used for longest until there is room for another one."""
        others = sorted(
            (one for one in folder.iterdir() if not one.name.startswith(".")), key=lambda one: one.stat().st_mtime
        )
        sizes = [sum(path.stat().st_size for path in one.iterdir()) for one in others]
        while sizes and sum(sizes) + size > self.limit:
            sizes.pop(0)
            shutil.rmtree(others.pop(0), ignore_errors=True)


class _TooLarge(Exception):
    """The frames of a set take more than a cache may hold."""


class Kept(FrameImages):
    """Frames that a cache holds.

    Args:
        path: the file of packed recordings.
        offsets: where each begins, and where the last one ends [N + 1].
        recordings: whose frames they are.
    """

    def __init__(self, path: Path, offsets: np.ndarray, recordings: Recordings):
        super().__init__(range(len(recordings)), recordings.window)
        self._offsets, self._recordings = offsets, recordings
        self._file = _Open(path)

    def one(self, place: int) -> np.ndarray:
        start, stop = self._offsets[place : place + 2]
        packed = np.frombuffer(self._file.read(start, stop), np.uint8)
        return unpack(packed, (self.window.steps, *self.window.shape, 2))

    def digest(self) -> bytes:
        return self._recordings.only(self.places).digest()


class _Open:
    """A file that is open as long as anyone uses it. It is read, not mapped: a map's pages would count as memory."""

    _descriptor = -1

    def __init__(self, path: Path):
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, start: int, stop: int) -> bytes:
        return os.pread(self._descriptor, stop - start, start)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


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
