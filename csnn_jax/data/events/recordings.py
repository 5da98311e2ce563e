"""Many recordings as the images of a split, each decoded when it is asked for."""

from collections.abc import Callable, Hashable, Sequence
from hashlib import sha256
from typing import overload

import numpy as np
from numpy.typing import DTypeLike

from csnn_jax.data.events.frames import Window
from csnn_jax.data.events.recording import Events
from csnn_jax.errors import UserError


class Recordings:
    """Frames of recordings, uint8 [N, T, H, W, 2], as a split's images: an array that is made of files as it is read.

    Memory does not grow with their number: `[rows]` reads the files of those rows, and `[start:stop]` none.

    Args:
        places: where each recording is; what `read` takes, and what `str` tells a user.
        read: gives the events at a place, or raises UserError.
        window: makes frames of them.
    """

    dtype, ndim = np.dtype(np.uint8), 5

    def __init__(self, places: Sequence[Hashable], read: Callable[..., Events], window: Window):
        self._places, self._read, self._window = places, read, window

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), self._window.steps, *self._window.shape, 2)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, rows: slice) -> "Recordings": ...
    @overload
    def __getitem__(self, rows: "int | np.ndarray") -> np.ndarray: ...
    def __getitem__(self, rows):
        """Recordings of a slice; frames of one row [T, H, W, 2], or of an array of rows [batch, T, H, W, 2]."""
        if isinstance(rows, slice):
            return Recordings(self._places[rows], self._read, self._window)
        if np.ndim(rows) == 0:
            return self._frames(self._places[int(rows)])
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for target, row in zip(out, rows, strict=True):
            target[...] = self._frames(self._places[int(row)])
        return out

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """All frames, for few recordings."""
        return self[np.arange(len(self))].astype(dtype or np.uint8, copy=False)

    def digest(self) -> bytes:
        """Names the recordings and the rules of their frames, for what tells two data sets apart."""
        told = "\n".join(map(str, (*self._places, self._window)))
        return sha256(told.encode()).digest()

    def _frames(self, place: Hashable) -> np.ndarray:
        try:
            return self._window.frames(self._read(place))
        except ValueError as error:
            raise UserError(f"{place}: {error}") from error
