"""Recordings in the format of N-MNIST and N-Caltech101: five bytes an event."""

from pathlib import Path

import numpy as np

from csnn_jax.data.events.recording import Events
from csnn_jax.errors import UserError

OVERFLOW = 240
"""A row that no pixel has: from such an event on, the clock is 2^13 us further."""


def read_bin(path: Path) -> Events:
    """Reads a recording of N-MNIST or N-Caltech101: five bytes an event.

    They are x, y, and big-endian the polarity in one bit and the time in 23 bits (microseconds). An event in row 240
    says that the clock has overflown, as in tonic and in the authors' own reader; SpikingJelly takes it for an event.

    Raises:
        UserError: it can't be read, or its size is no multiple of five.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), expected a recording") from error
    if len(data) % 5:
        raise UserError(f"{path}: {len(data)} bytes, expected a multiple of 5, the size of an event")
    return decoded(data)


def decoded(data: bytes) -> Events:
    """The events in the bytes of a recording."""
    x, y, *rest = np.frombuffer(data, np.uint8).reshape(-1, 5).T.astype(np.int64)
    overflown = y == OVERFLOW
    t = ((rest[0] & 127) << 16 | rest[1] << 8 | rest[2]) + (np.cumsum(overflown) << 13)
    return Events(*(values[~overflown] for values in (t, x, y, rest[0] >> 7)))


def encoded(events: Events) -> bytes:
    """A recording's bytes; its events are within 2^23 us, on a sensor of at most 240 rows and 256 columns."""
    columns = events.x, events.y, events.p << 7 | events.t >> 16, events.t >> 8 & 255, events.t & 255
    return np.stack(columns, 1).astype(np.uint8).tobytes()
