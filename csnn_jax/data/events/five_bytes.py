"""Recordings in the format of N-MNIST and N-Caltech101: five bytes per event."""

from pathlib import Path

import numpy as np

from csnn_jax import reading
from csnn_jax.data.events.recording import MOST_EVENTS, Events, check
from csnn_jax.errors import UserError

OVERFLOW = 240
"""A row without pixels: an event in it advances the clock by 2^13 us."""
MOST_MARKS = 10_000_000
"""Maximum number of overflow events in a recording: 22 hours, 50 MB."""
LATEST = 2**23 - 1
"""The latest time (microseconds) of an event without an overflow event before it."""


def read_bin(path: Path) -> Events:
    """Reads a recording of N-MNIST or N-Caltech101: five bytes per event.

    They are x, y, and in big-endian order one bit of polarity and 23 bits of time (microseconds). An event in row 240
    means that the clock overflowed, as in tonic and the authors' reader; SpikingJelly treats it as an event.

    Raises:
        UserError: the file can't be read, or its size isn't a multiple of five.
    """
    data = reading.read(path, "a recording", 5 * (MOST_EVENTS + MOST_MARKS))
    if len(data) % 5:
        raise UserError(f"{path}: {len(data)} bytes, expected a multiple of 5, the size of an event")
    return decoded(data)


def decoded(data: bytes) -> Events:
    """The events in the bytes of a recording."""
    x, y, *rest = np.frombuffer(data, np.uint8).reshape(-1, 5).T
    overflown = y == OVERFLOW
    t = np.cumsum(overflown) << 13
    for values, shift in zip((rest[0] & 127, *rest[1:]), (16, 8, 0), strict=True):
        t += values.astype(np.int64) << shift
    return Events(*(values[~overflown].astype(np.int64, copy=False) for values in (t, x, y, rest[0] >> 7)))


def encoded(events: Events) -> bytes:
    """A recording's bytes, with as many overflow events as its length needs.

    Times that start below 0 or don't fit in 23 bits are counted from the first event.

    Raises:
        ValueError: an event outside of 240 rows and 256 columns or out of time order, or a recording longer than a day.
    """
    check(events, (OVERFLOW, 256))
    t = events.t - (events.t[0] if not 0 <= events.t[0] <= LATEST else 0)
    marks = np.maximum(0, -(-(t - LATEST) >> 13))  # overflow events before each event, in total
    if marks[-1] > MOST_MARKS:
        raise ValueError(f"lasts {t[-1] - t[0]} us, expected less than a day")
    place = np.arange(len(t)) + marks
    rows = np.zeros((len(t) + int(marks[-1]), 5), np.uint8)
    rows[np.setdiff1d(np.arange(len(rows)), place), 1] = OVERFLOW
    t = t - (marks << 13)
    rows[place] = np.stack((events.x, events.y, events.p << 7 | t >> 16, t >> 8 & 255, t & 255), 1)
    return rows.tobytes()
