"""The events of one recording, and the checks of a recording."""

from typing import NamedTuple

import numpy as np

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
