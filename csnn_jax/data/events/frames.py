"""How events become frames: the rules by which tonic and SpikingJelly make as many frames as a network has steps."""

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from csnn_jax.data.events.recording import Events, check

if TYPE_CHECKING:
    from csnn_jax.config import DataConfig

MOST = 15
"""A pixel's events in a frame, above which they are not counted on."""


@dataclass(frozen=True)
class Rules:
    """How events are spread over frames; the flags of a job say it.

    Attributes:
        by: "time", frames last equally long, or "count", they take equally many events.
        values: "count", a pixel's events up to `MOST`, or "binary", 1 for any number of them.
        rest: "drop", what is left at the end is left out, or "last", it goes into the last frame.
    """

    by: str = "time"
    values: str = "count"
    rest: str = "drop"

    @classmethod
    def of(cls, told: "DataConfig") -> Self:
        """Those of a job."""
        return cls(told.frames, told.frame_values, told.frame_rest)

    def flags(self) -> list[str]:
        """The flags that say what differs from the defaults, as a user gives them."""
        given = {"--frames": self.by, "--frame-values": self.values, "--frame-rest": self.rest}
        usual = astuple(Rules())
        return [
            f"{flag} {value}" for (flag, value), default in zip(given.items(), usual, strict=True) if value != default
        ]


@dataclass(frozen=True)
class Window:
    """Makes frames of recordings.

    Attributes:
        steps: frames of a recording, T.
        sensor: height and width of the sensor (pixels).
        shape: height and width of a frame; each divides the sensor's.
        rules: how events are spread over frames.
    """

    steps: int
    sensor: tuple[int, int]
    shape: tuple[int, int]
    rules: Rules

    def told(self, where: str) -> tuple[str, ...]:
        """What becomes of the recordings of a folder, for the log."""
        size, held = f"{self.shape[0]}x{self.shape[1]}", f"counts up to {MOST}"
        if self.rules.values == "binary":
            held = "0 or 1"
        return (f"{where}: recordings as {self.steps} frames of {size}, by {self.rules.by}, of {held}",)

    def frames(self, events: Events) -> np.ndarray:
        """Counts the events of each pixel and polarity, frame by frame.

        With `time`, a frame lasts w = (last t - first t) // T microseconds, and with `count` it takes n = events // T
        events. What is left at the end, less than a frame or T microseconds, is left out (`drop`, as tonic does) or
        goes into the last frame (`last`, as SpikingJelly does). Take five events at 10, 12, 15, 16 and 19 us and
        T = 2. By time w = 9 // 2 = 4: the events at 10 and 12 are in the first frame, those at 15 and 16 in the second,
        and the one at 19, which is 9 us after the first, is left. By count n = 5 // 2 = 2: the first frame takes those
        at 10 and 12, the second those at 15 and 16, and the one at 19 is left as well.

        Returns:
            uint8 [T, H, W, 2]; channel 0 counts the events that became darker, channel 1 those that became brighter,
            up to 15, or 1 for any number of them with `binary`.

        Raises:
            ValueError: a recording that `check` refuses, or that is too short for T frames.
        """
        check(events, self.sensor)
        frame = self._frame(events)
        kept = frame < self.steps
        if self.rules.rest == "last":
            frame, kept = np.minimum(frame, self.steps - 1), np.ones_like(kept)
        height, width = self.shape
        row = events.y.astype(np.int64) // (self.sensor[0] // height)
        column = events.x.astype(np.int64) // (self.sensor[1] // width)
        cell = ((frame * height + row) * width + column) * 2 + events.p
        counts = np.bincount(cell[kept], minlength=self.steps * height * width * 2)
        most = 1 if self.rules.values == "binary" else MOST
        return np.minimum(counts, most).astype(np.uint8).reshape(self.steps, height, width, 2)

    def _frame(self, events: Events) -> np.ndarray:
        """The frame of each event, from 0; T and above at the end."""
        if self.rules.by == "count":
            each = len(events.t) // self.steps
            if not each:
                raise ValueError(f"has {len(events.t)} events, expected at least --time-steps {self.steps}")
            return np.arange(len(events.t)) // each
        passed = events.t - events.t[0]
        each = passed[-1] // self.steps
        if not each:
            raise ValueError(f"lasts {passed[-1]} us, expected at least --time-steps {self.steps}")
        return passed // each
