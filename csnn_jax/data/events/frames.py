"""Converts events to frames, one per step of the network, by tonic's rules; each recording when it's needed."""

import copy
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
from numpy.typing import DTypeLike

from csnn_jax.data.events.recording import Events, Size, check
from csnn_jax.data.images import MOST_COUNT, MadeImages
from csnn_jax.data.source import Wanted
from csnn_jax.errors import UserError, worded

MOST_CELLS = 2**28
"""Maximum pixels in the frames of one recording, 2 GB while they're counted: 100 frames of 1280 by 960 pixels."""


@dataclass(frozen=True)
class Window:
    """Turns recordings into frames.

    Attributes:
        steps: frames per recording, T.
        sensor: height and width of the sensor (pixels).
        shape: height and width of a frame; they divide the sensor's.
        by: "time" (frames of equal duration) or "count" (frames with equally many events).
    """

    steps: int
    sensor: tuple[int, int]
    shape: tuple[int, int]
    by: str = "time"

    @classmethod
    def of(cls, wanted: Wanted, sensor: Size) -> "Window":
        """A network's window: frames of the shape of its input, or of the sensor's if none was requested.

        Raises:
            UserError: the shape doesn't have two channels or doesn't divide the sensor's size, or its frames are too
                large.
        """
        height, width, channels = (*sensor, 2) if wanted.shape_is_default else wanted.shape
        flag, steps = f"--input-shape {height} {width} {channels}", wanted.time_steps
        if channels != 2:
            raise UserError(f"{flag}: expected 2 channels, OFF and ON events, for event recordings")
        if sensor[0] % height or sensor[1] % width:
            raise UserError(f"{flag}: expected a size that divides the sensor's {sensor[0]} by {sensor[1]} pixels")
        if steps * height * width * 2 > MOST_CELLS:
            size = f"{steps} frames of {height} by {width} pixels"
            raise UserError(f"--input-shape: {size} are too large, expected a smaller fraction of the sensor")
        return cls(steps, sensor, (height, width), wanted.frames)

    def summary(self, where: str) -> tuple[str, ...]:
        """How the recordings of a folder are converted, for the log."""
        size = f"{self.shape[0]}x{self.shape[1]}"
        return (f"{where}: recordings as {self.steps} frames of {size}, by {self.by}, of counts up to {MOST_COUNT}",)

    def frames(self, events: Events) -> np.ndarray:
        """Counts the events of each pixel and polarity, frame by frame.

        With `time`, a frame lasts w = (last t - first t) // T microseconds; with `count`, it has n = events // T
        events. The remainder at the end, less than T microseconds or events, is dropped, as in tonic. For example, take
        five events at 10, 12, 15, 16 and 19 us and T = 2. By time, w = 9 // 2 = 4: the events at 10 and 12 are in the
        first frame, those at 15 and 16 in the second, and the one at 19, 9 us after the first, is dropped. By count, n
        = 5 // 2 = 2: the first frame has the events at 10 and 12, the second those at 15 and 16, and the one at 19 is
        dropped as well.

        Returns:
            uint8 [T, H, W, 2]; channel 0 counts OFF events (darker), channel 1 ON events (brighter), up to
                `MOST_COUNT`.

        Raises:
            ValueError: a recording that `check` rejects, or that is too short for T frames.
        """
        check(events, self.sensor)
        frame = self._frame(events)
        inside = frame < self.steps
        height, width = self.shape
        row = events.y.astype(np.int64) // (self.sensor[0] // height)
        column = events.x.astype(np.int64) // (self.sensor[1] // width)
        cell = ((frame * height + row) * width + column) * 2 + events.p
        counts = np.bincount(cell[inside], minlength=self.steps * height * width * 2)
        return np.minimum(counts, MOST_COUNT).astype(np.uint8).reshape(self.steps, height, width, 2)

    def _frame(self, events: Events) -> np.ndarray:
        """Index of each event's frame, from 0; T and above for the dropped remainder."""
        if self.by == "count":
            each = len(events.t) // self.steps
            if not each:
                raise ValueError(worded(f"has {len(events.t)} events, expected at least --time-steps {self.steps}"))
            return np.arange(len(events.t)) // each
        passed = events.t - events.t[0]
        each = passed[-1] // self.steps
        if not each:
            raise ValueError(worded(f"lasts {passed[-1]} us, expected at least --time-steps {self.steps}"))
        return passed // each


class Recordings(MadeImages):
    """Recordings in files as the images of a split: frames uint8 [N, T, H, W, 2], computed when they're read.

    Memory use doesn't grow with their number: `[rows]` only computes the frames of those rows, and `[start:stop]`
    computes none.

    Args:
        places: location of each recording, passed to `read` and shown to the user with `str`. It's a file or has the
            file's `path`.
        read: returns the events at a place, or raises UserError.
        window: turns them into frames.
        made: whether they're simulated, so there are no files that could be damaged.
    """

    dtype, ndim, highest = np.dtype(np.uint8), 5, MOST_COUNT

    def __init__(self, places: Sequence[Hashable], read: Callable[..., Events], window: Window, made: bool = False):
        self.places, self._read, self.window, self.made = places, read, window, made
        self._rows = range(len(places))
        self._cached: Callable[[int], np.ndarray] | None = None

    def cached(self, frames: Callable[[int], np.ndarray]) -> "Recordings":
        """The same recordings, with a function that returns the frames of each by its row, instead of reading files."""
        part = copy.copy(self)
        part._cached = frames
        return part

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
        """Recordings of a slice; frames of one row [T, H, W, 2], or of an array of rows [batch, T, H, W, 2].

        Raises:
            UserError: a recording can't be read or used; the message names it.
        """
        if isinstance(rows, slice):
            part = copy.copy(self)
            part.places, part._rows = self.places[rows], self._rows[rows]
            return part
        if np.ndim(rows) == 0:
            return self._frames(int(rows))
        steps, *frame = self.shape[1:]
        # In memory step by step, as a network reads them: transposing a large batch later takes longer than making it.
        out = _aligned((steps, len(rows), *frame)).swapaxes(0, 1)
        for target, row in zip(out, rows, strict=True):
            target[...] = self._frames(int(row))
        return out

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """All frames, for few recordings."""
        return self[np.arange(len(self))].astype(dtype or np.uint8, copy=False)

    def _frames(self, row: int) -> np.ndarray:
        if self._cached is not None:
            return self._cached(self._rows[row])
        try:
            return self.window.frames(self._read(self.places[row]))
        except ValueError as error:
            raise UserError(f"{self.places[row]}: {error}") from error

    def digest(self) -> bytes:
        """Identifies these frames: the recordings, regardless of their location, and how frames are made from them."""
        text = "\n".join((*map(_described, self.places), str(self.window)))
        return sha256(text.encode()).digest()

    def files(self) -> Iterator[Path]:
        """Every file with recordings, once."""
        return iter(dict.fromkeys(map(_path, self.places)))


def _described(place: Hashable) -> str:
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
