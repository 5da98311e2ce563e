"""Recordings as the images of a split, each decoded on demand."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
from numpy.typing import DTypeLike

from csnn_jax.data.events.frames import Window
from csnn_jax.data.events.recording import Events
from csnn_jax.data.images import MOST_COUNT, MadeImages
from csnn_jax.errors import UserError


class FrameImages(MadeImages):
    """Frames of recordings, uint8 [N, T, H, W, 2], as a split's images: an array whose rows are computed on demand.

    Memory use doesn't grow with their number: `[rows]` only computes the frames of those rows, and `[start:stop]`
    computes none.

    Args:
        places: location of each recording, for `one`.
        window: makes the frames, or made them.
    """

    dtype, ndim, highest = np.dtype(np.uint8), 5, MOST_COUNT

    def __init__(self, places: Sequence[Any], window: Window):
        self.places, self.window = places, window

    @abstractmethod
    def one(self, place: Any) -> np.ndarray:
        """The frames of a recording [T, H, W, 2]."""

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (len(self), self.window.steps, *self.window.shape, 2)

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, rows: slice) -> Self: ...
    @overload
    def __getitem__(self, rows: "int | np.ndarray") -> np.ndarray: ...
    def __getitem__(self, rows):
        """Recordings of a slice; frames of one row [T, H, W, 2], or of an array of rows [batch, T, H, W, 2]."""
        if isinstance(rows, slice):
            part = copy.copy(self)
            part.places = self.places[rows]
            return part
        if np.ndim(rows) == 0:
            return self.one(self.places[int(rows)])
        steps, *frame = self.shape[1:]
        # In memory step by step, as a network reads them: transposing a large batch later takes longer than making it.
        out = _aligned((steps, len(rows), *frame)).swapaxes(0, 1)
        for target, row in zip(out, rows, strict=True):
            target[...] = self.one(self.places[int(row)])
        return out

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """All frames, for few recordings."""
        return self[np.arange(len(self))].astype(dtype or np.uint8, copy=False)


class Recordings(FrameImages):
    """Recordings in files, read when their frames are needed.

    Args:
        places: location of each recording, passed to `read` and shown to the user with `str`. It's a file or has the
            file's `path`.
        read: returns the events at a place, or raises UserError.
        window: turns them into frames.
        made: whether they're simulated, so there are no files that could be damaged.
    """

    def __init__(self, places: Sequence[Hashable], read: Callable[..., Events], window: Window, made: bool = False):
        super().__init__(places, window)
        self._read, self.made = read, made

    def one(self, place: Hashable) -> np.ndarray:
        """The frames of a recording [T, H, W, 2].

        Raises:
            UserError: the recording can't be read or used; the message names it.
        """
        try:
            return self.window.frames(self._read(place))
        except ValueError as error:
            raise UserError(f"{place}: {error}") from error

    def digest(self) -> bytes:
        """Identifies these frames: the recordings, regardless of their location, and how frames are made from them."""
        told = "\n".join((*map(_told, self.places), str(self.window)))
        return sha256(told.encode()).digest()

    def files(self) -> Iterator[Path]:
        """Every file with recordings, once."""
        return iter(dict.fromkeys(map(_path, self.places)))

    def joined(self, other: "Recordings") -> "Recordings":
        """These recordings, followed by those of another part of the data set."""
        return Recordings([*self.places, *other.places], self._read, self.window, self.made)

    def only(self, rows: Iterable[int]) -> "Recordings":
        """The recordings of some rows."""
        return Recordings([self.places[row] for row in rows], self._read, self.window, self.made)


def _told(place: Hashable) -> str:
    """A place as folder name and file name, which are the same on every machine, and file size."""
    path = _path(place)
    rest = str(place).removeprefix(str(path))
    return f"{path.parent.name}/{path.name}{rest} {path.stat().st_size}"


def _path(place: Any) -> Path:
    return place if isinstance(place, Path) else place.path


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Memory for bytes, aligned so JAX can use it without a copy."""
    size = math.prod(shape)
    room = np.empty(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].reshape(shape)
