"""The events of one recording, their checks, and N-MNIST's format of five bytes per event."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from csnn_jax import reading
from csnn_jax.errors import UserError

Size = tuple[int, int]
"""Height and width of a sensor (pixels)."""
LARGEST = 4096
"""Maximum height or width of a sensor (pixels); current event cameras have up to 1280 by 960."""
LATEST = 2**62
"""Bound on times (microseconds) that keeps their differences exact in 64 bits."""
MOST_EVENTS = 2**24
"""Maximum number of events decoded into memory, 1.5 GB with their frames; a file of a few kB may claim any number."""


class Events(NamedTuple):
    """The events of a camera in time order; each array has one value per event [events].

    Attributes:
        t: time (microseconds), int64.
        x: column of the pixel, from the left.
        y: row of the pixel, from the top.
        p: polarity: 1 if the pixel became brighter, otherwise 0.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray


def check(events: Events, sensor: tuple[int, int]) -> None:
    """Raises ValueError if a recording has no events, or events out of order or outside the sensor (height, width)."""
    if not len(events.t):
        raise ValueError("has no events, expected at least one")
    for name, values, size in (("x", events.x, sensor[1]), ("y", events.y, sensor[0])):
        if (high := values.max()) >= size or values.min() < 0:
            wrong = high if high >= size else values.min()
            raise ValueError(f"has an event at {name} = {wrong}, expected 0 to {size - 1} on this sensor")
    later = np.flatnonzero(np.diff(events.t) < 0)
    if later.size:
        first, second = events.t[later[0]], events.t[later[0] + 1]
        raise ValueError(f"has an event at {second} us after one at {first} us, expected time order")


OVERFLOW = 240
"""A row without pixels: an event in it advances the clock by 2^13 us."""
MOST_MARKS = 10_000_000
"""Maximum number of overflow events in a recording: 22 hours, 50 MB."""
LATEST_UNMARKED = 2**23 - 1
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
    t = events.t - (events.t[0] if not 0 <= events.t[0] <= LATEST_UNMARKED else 0)
    marks = np.maximum(0, -(-(t - LATEST_UNMARKED) >> 13))  # overflow events before each event, in total
    if marks[-1] > MOST_MARKS:
        raise ValueError(f"lasts {t[-1] - t[0]} us, expected less than a day")
    place = np.arange(len(t)) + marks
    rows = np.zeros((len(t) + int(marks[-1]), 5), np.uint8)
    rows[np.setdiff1d(np.arange(len(rows)), place), 1] = OVERFLOW
    t = t - (marks << 13)
    rows[place] = np.stack((events.x, events.y, events.p << 7 | t >> 16, t >> 8 & 255, t & 255), 1)
    return rows.tobytes()
