"""A simulated event camera: MNIST's digits move along three saccades in front of a sensor.

The scene is N-MNIST's (Orchard et al. 2015): in front of a sensor of 34x34 pixels, a dark digit on a light screen moves
three times in 310 ms, along a triangle. A pixel compares the logarithm of its brightness with the value at its last
event, and reports a difference above its threshold, at most once every `REFRACTORY` ms. Thresholds differ from pixel
to pixel, and some events are noise. The constants were fitted to 500 recordings of N-MNIST: `benchmarks/camera.py`
measures the path and compares the two cameras. Every comparison is between integers, and random words come from
Philox, whose stream NumPy promises to keep, so the recordings are the same on every machine.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from csnn_jax.data.events.frames import Recordings, Window
from csnn_jax.data.events.recording import Events, decoded, encoded
from csnn_jax.data.idx import read_mnist
from csnn_jax.data.source import Pair, Raw, Reader, StoredRecords, Wanted
from csnn_jax.progress import followed

SENSOR = (34, 34)
STEP, DURATION = 10, 310
"""Time between two points of `PATH`, and length of a recording (ms)."""
PATH = np.array(
    [
        *((286, 125), (321, 114), (430, 93), (648, 77), (945, 81), (1251, 132), (1495, 267), (1632, 398)),
        *((1674, 465), (1675, 487), (1660, 515), (1649, 558), (1633, 635), (1543, 779), (1335, 952), (1061, 1077)),
        *((793, 1146), (572, 1238), (456, 1311), (431, 1354), (431, 1399), (433, 1447), (427, 1463), (420, 1400)),
        *((409, 1210), (384, 984), (345, 752), (306, 548), (282, 397), (277, 292), (281, 253), (283, 250)),
    ]
)
"""Row and column of a digit's upper left corner on the sensor every 10 ms (1/256 pixel), int [32, 2]."""
LOG = np.rint(1024 * np.log1p(np.arange(256) / 28)).astype(np.int32)
"""Logarithm of each brightness, in 1/1024; the screen is ten times as bright as the darkest pixels of a digit."""
THRESHOLD, MISMATCH = 292, 20
"""Mean and standard deviation of the pixels' thresholds (in 1/1024 of the logarithm)."""
REFRACTORY = 2
"""Minimum time between two events of a pixel (ms)."""
NOISE, DARKER = 146, 20
"""Mean number of noise events in a recording; one in `DARKER` of them is an OFF event."""
ROOM = 8
"""Margin of the screen around a digit (pixels); it fills the sensor wherever the digit moves."""
STREAM = 6
"""Separates these draws from those of a job, whose seeds are (seed, 0 to 5, number)."""


def simulate(digits: np.ndarray, part: int, first: int = 0) -> Iterator[Events]:
    """Simulates a recording of each digit.

    Args:
        digits: uint8 [N, 28, 28].
        part: 0 for training digits, 1 for test digits; with the digit's number, it seeds a recording's random draws.
        first: number of the first digit in its part.
    """
    moved = _moved(digits)
    for number in range(len(digits)):
        start, stop = np.searchsorted(moved[:, 0], (number, number + 1))
        yield _recorded(moved[start:stop], (0, STREAM, part, first + number))


def position(time: int) -> tuple[int, int]:
    """Row and column of the digit's upper left corner at a time (ms), in 1/256 pixel."""
    leg, after = divmod(time, STEP)
    down, right = (PATH[leg] * (STEP - after) + PATH[leg + 1] * after + STEP // 2) // STEP
    return int(down), int(right)


def thresholds() -> np.ndarray:
    """Each pixel's threshold, int32 [34, 34]: a sum of twelve uniform draws is nearly normal."""
    words = np.random.Philox(np.random.SeedSequence((0, STREAM))).random_raw(3 * SENSOR[0] * SENSOR[1])
    draws = words.astype("<u8", copy=False).view("<u2").reshape(*SENSOR, 12).astype(np.int64)
    deviation = (draws.sum(2) - 6 * 65535) * MISMATCH  # in 1/65536
    return (THRESHOLD + (deviation + 2**15 >> 16)).astype(np.int32)


def _moved(digits: np.ndarray) -> np.ndarray:
    """Events due to movement, digit by digit: int32 [events, 5], digit, time (ms), row, column and polarity."""
    height, width = SENSOR
    scene = _blurred(digits)
    threshold = thresholds()
    reference: np.ndarray | None = None
    reported = np.full((len(digits), height, width), -REFRACTORY, np.int16)
    parts = []
    for time in range(DURATION):
        seen = LOG[_seen(scene, time)]
        if reference is None:
            reference = seen
            continue
        change = seen - reference
        ready = time - reported >= REFRACTORY
        up, down = (change >= threshold) & ready, (change <= -threshold) & ready
        reference = reference + threshold * (up.astype(np.int32) - down)
        fired = up | down
        reported[fired] = time
        number, row, column = np.nonzero(fired)
        parts.append(np.stack([number, np.full(len(number), time), row, column, up[fired]], 1).astype(np.int32))
    events = np.concatenate(parts)
    return events[np.argsort(events[:, 0], kind="stable")]


def _blurred(digits: np.ndarray) -> np.ndarray:
    """The light screen with the dark digits, slightly out of focus: int32 [N, 28 + 2 ROOM, 28 + 2 ROOM]."""
    ink = np.pad(digits.astype(np.int32), ((0, 0), (ROOM, ROOM), (ROOM, ROOM)))
    for axis in (1, 2):
        ink = np.roll(ink, 1, axis) + 6 * ink + np.roll(ink, -1, axis)
    return 255 - (ink + 32 >> 6)


def _seen(scene: np.ndarray, time: int) -> np.ndarray:
    """The brightness at each pixel of the sensor [N, 34, 34], interpolated between four pixels of the scene."""
    down, right = position(time)
    (row, y), (column, x) = divmod(256 * ROOM - down, 256), divmod(256 * ROOM - right, 256)
    corners = [
        scene[:, row + i : row + i + SENSOR[0], column + j : column + j + SENSOR[1]] for i in (0, 1) for j in (0, 1)
    ]
    upper = corners[0] * (256 - x) + corners[1] * x
    lower = corners[2] * (256 - x) + corners[3] * x
    return (upper * (256 - y) + lower * y + 2**15) >> 16


def _recorded(moved: np.ndarray, seed: tuple[int, ...]) -> Events:
    """A digit's events with times in microseconds, with noise added."""
    random = np.random.Philox(np.random.SeedSequence(seed))
    words = random.random_raw(len(moved) + 2 * NOISE).astype(np.int64) & (2**62 - 1)
    within = words[: len(moved)] % 1000
    noise = words[len(moved) :]
    noise = noise[noise >> 61 == 1]  # each with probability 1/2
    t = np.concatenate([1000 * moved[:, 1].astype(np.int64) + within, noise % (1000 * DURATION)])
    place = (noise >> 20) % (DARKER * SENSOR[0] * SENSOR[1])
    pixel, brighter = place // DARKER, place % DARKER > 0
    rest = np.stack([pixel // SENSOR[1], pixel % SENSOR[1], brighter], 1)
    y, x, p = np.concatenate([moved[:, 2:].astype(np.int64), rest]).T
    order = np.argsort(t, kind="stable")
    return Events(*(values[order] for values in (t, x, y, p)))


FORMAT = 3
"""Changes whenever the simulation changes, so older stored recordings are no longer found."""
BATCH = 250
"""Number of digits that a thread simulates at once."""


class Place(NamedTuple):
    """A recording: the file with its digit, its part and number there, and what returns the part's stored recordings.

    These are made on first use.
    """

    path: Path
    part: int
    number: int
    stored: Callable[[], StoredRecords | None]

    def __str__(self) -> str:
        return f"{self.path}, digit {self.number} of part {self.part}, simulated (format {FORMAT})"


def read_saccades(where: str, wanted: Wanted) -> Raw:
    """Simulates recordings of MNIST's digits, only once with a cache; see `csnn_jax.data.events.saccades`.

    Args:
        where: unused.
        wanted: the network's input; its `subset` limits how many recordings are made.

    Raises:
        UserError: the sensor's size isn't a multiple of the shape.
    """
    window = Window.of(wanted, SENSOR)
    mnist = read_mnist()
    sizes = [wanted.of(len(labels), len(mnist.train[1])) for _, labels in (mnist.train, mnist.test)]
    parts = zip((mnist.train, mnist.test), sizes, strict=True)
    train, test = (_pair(part, pair, count, window, wanted) for part, (pair, count) in enumerate(parts))
    return Raw(train, test, mnist.names, notes=window.summary("saccades (simulated)"))


def read_place(place: Place) -> Events:
    """Returns the events of a recording, stored or simulated again."""
    if (records := place.stored()) is not None:
        return decoded(records[place.number])
    digits = np.asarray(_digits(place.part)[place.number : place.number + 1])
    return next(simulate(digits, place.part, place.number))


def _pair(part: int, pair: Pair, count: int, window: Window, wanted: Wanted) -> Pair:
    images, labels = pair
    stored = cache(partial(_stored, wanted, np.asarray(images[:count])[..., 0], part))
    path = Path(str(files("csnn_jax.data"))) / "mnist" / f"{('train', 't10k')[part]}-images-idx3-ubyte.gz"
    places = [Place(path, part, number, stored) for number in range(count)]
    return Recordings(places, read_place, window, made=True), labels[:count]


def _stored(wanted: Wanted, digits: np.ndarray, part: int) -> StoredRecords | None:
    """All recordings of a part, simulated in batches if missing; None if they can't be stored."""
    starts = range(0, len(digits), BATCH)

    def simulated() -> Iterator[bytes]:
        with ThreadPoolExecutor() as pool:
            made = pool.map(lambda start: _simulated(digits[start : start + BATCH], part, start), starts)
            for batch in followed(made, f"Data: simulating {len(digits):,} recordings", len(starts)):
                yield from batch

    return wanted.store(f"saccades-{FORMAT}-{('train', 'test')[part]}-{len(digits)}", simulated)


def _simulated(digits: np.ndarray, part: int, first: int) -> list[bytes]:
    return [encoded(events) for events in simulate(digits, part, first)]


@cache
def _digits(part: int) -> np.ndarray:
    return np.asarray((read_mnist().train if part == 0 else read_mnist().test)[0])[..., 0]


READER = Reader(read_saccades, recordings=True, sensor=SENSOR)
