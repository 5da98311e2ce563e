"""How events become frames: as many as a network has steps, by the rules of tonic."""

from dataclasses import dataclass

import numpy as np

from csnn_jax.data.events.recording import Events, Size, check
from csnn_jax.data.images import MOST_COUNT
from csnn_jax.data.source import Wanted
from csnn_jax.errors import UserError

MOST_CELLS = 2**28
"""Of the frames of one recording, which take 2 GB while they are counted: 100 frames of 1280 by 960 pixels."""


@dataclass(frozen=True)
class Window:
    """Makes frames of recordings.

    Attributes:
        steps: frames of a recording, T.
        sensor: height and width of the sensor (pixels).
        shape: height and width of a frame; each divides the sensor's.
        by: "time", frames last equally long, or "count", they take equally many events.
    """

    steps: int
    sensor: tuple[int, int]
    shape: tuple[int, int]
    by: str = "time"

    def summary(self, where: str) -> tuple[str, ...]:
        """What becomes of the recordings of a folder, for the log."""
        size = f"{self.shape[0]}x{self.shape[1]}"
        return (f"{where}: recordings as {self.steps} frames of {size}, by {self.by}, of counts up to {MOST_COUNT}",)

    def frames(self, events: Events) -> np.ndarray:
        """Counts the events of each pixel and polarity, frame by frame.

        With `time`, a frame lasts w = (last t - first t) // T microseconds, and with `count` it takes n = events // T
        events. What is left at the end, less than T microseconds or events, is left out, as in tonic. Take five events
        at 10, 12, 15, 16 and 19 us and T = 2. By time w = 9 // 2 = 4: the events at 10 and 12 are in the first frame,
        those at 15 and 16 in the second, and the one at 19, which is 9 us after the first, is left out. By count
        n = 5 // 2 = 2: the first frame takes those at 10 and 12, the second those at 15 and 16, and the one at 19 is
        left out as well.

        Returns:
            uint8 [T, H, W, 2]; channel 0 counts the events that became darker, channel 1 those that became brighter,
            up to `MOST_COUNT`.

        Raises:
            ValueError: a recording that `check` refuses, or that is too short for T frames.
        """
        check(events, self.sensor)
        frame = self._frame(events)
        kept = frame < self.steps
        height, width = self.shape
        row = events.y.astype(np.int64) // (self.sensor[0] // height)
        column = events.x.astype(np.int64) // (self.sensor[1] // width)
        cell = ((frame * height + row) * width + column) * 2 + events.p
        counts = np.bincount(cell[kept], minlength=self.steps * height * width * 2)
        return np.minimum(counts, MOST_COUNT).astype(np.uint8).reshape(self.steps, height, width, 2)

    def _frame(self, events: Events) -> np.ndarray:
        """The frame of each event, from 0; T and above at the end."""
        if self.by == "count":
            each = len(events.t) // self.steps
            if not each:
                raise ValueError(f"has {len(events.t)} events, expected at least --time-steps {self.steps}")
            return np.arange(len(events.t)) // each
        passed = events.t - events.t[0]
        each = passed[-1] // self.steps
        if not each:
            raise ValueError(f"lasts {passed[-1]} us, expected at least --time-steps {self.steps}")
        return passed // each


def fitted(wanted: Wanted, sensor: Size) -> Size:
    """Height and width of the frames for a network: those of its input, or the sensor's where nobody asked for any.

    Raises:
        UserError: a shape with other channels than the two polarities, that is no whole fraction of the sensor's, or
            whose frames are too large.
    """
    height, width = sensor if wanted.own else _asked(wanted, sensor)
    if wanted.time_steps * height * width * 2 > MOST_CELLS:
        size = f"{wanted.time_steps} frames of {height} by {width} pixels"
        raise UserError(f"--input-shape: {size} are too large, expected a smaller fraction of the sensor")
    return height, width


def _asked(wanted: Wanted, sensor: Size) -> Size:
    height, width, channels = wanted.shape
    flag = f"--input-shape {height} {width} {channels}"
    if channels != 2:
        raise UserError(f"{flag}: expected 2 channels, darker and brighter, for recordings of events")
    if height > sensor[0] or width > sensor[1] or sensor[0] % height or sensor[1] % width:
        raise UserError(f"{flag}: expected a whole fraction of the sensor's {sensor[0]} by {sensor[1]} pixels")
    return height, width
