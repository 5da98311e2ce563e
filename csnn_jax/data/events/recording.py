"""The events of one recording, and what makes a recording unusable."""

from typing import NamedTuple

import numpy as np

Size = tuple[int, int]
"""Height and width of a sensor (pixels)."""
LARGEST = 4096
"""Most pixels of a sensor in a row or column: event cameras of today have up to 1280 by 960."""
LATEST = 2**62
"""Bound of the times (microseconds), within which their differences are exact in 64 bits."""
MOST_EVENTS = 2**26
"""Of a recording that is decoded in memory, where they take 2 GB; a file of a few kB may claim any number."""


class Events(NamedTuple):
    """What an event camera saw, in the order of time; one value per event in each array [events].

    Attributes:
        t: when (microseconds), int64.
        x: column of the pixel, from the left.
        y: row of the pixel, from the top.
        p: polarity: 1 where the pixel became brighter, else 0.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray


def check(events: Events, sensor: tuple[int, int]) -> None:
    """Raises ValueError where a recording has no events, or some outside of the sensor (height, width) or of order."""
    if not len(events.t):
        raise ValueError("has no events, expected at least one")
    for name, values, size in (("x", events.x, sensor[1]), ("y", events.y, sensor[0])):
        if (high := values.max()) >= size or values.min() < 0:
            wrong = high if high >= size else values.min()
            raise ValueError(f"has an event at {name} = {wrong}, expected 0 to {size - 1} on this sensor")
    later = np.flatnonzero(np.diff(events.t) < 0)
    if later.size:
        first, second = events.t[later[0]], events.t[later[0] + 1]
        raise ValueError(f"has an event at {second} us after one at {first} us, expected the order of time")
