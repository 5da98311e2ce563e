"""A simulated event camera: MNIST's digits move along three saccades before a sensor. No real camera recorded them.

The scene is that of N-MNIST (Orchard et al. 2015): a sensor of 34x34 pixels looks at a digit that moves three times for
100 ms, along a triangle. Each pixel compares the logarithm of its intensity with what it was at its last event, and
reports where they differ by its threshold, at most once in `REFRACTORY` ms. Thresholds differ from pixel to pixel, and
some events are noise. Whatever decides is a whole number, and random words come from Philox, whose stream NumPy
promises to keep, so the recordings are the same on every machine.
"""

from collections.abc import Iterator

import numpy as np

from csnn_jax.data.events.recording import Events

SENSOR = (34, 34)
SACCADE, DURATION = 100, 300
"""Of one movement, and of a recording (ms)."""
CORNERS = ((0, 0), (3, 2), (0, 4), (0, 0))
"""How far the digit has moved, down and to the right, before, between and after the saccades (pixels)."""
MARGIN = (2, 1)
"""Pixels above and to the left of a digit before it moves: it never leaves the sensor."""
LOG = np.rint(1024 * np.log1p(np.arange(256) / 24)).astype(np.int32)
"""Logarithm of the intensity of each grey, in 1/1024; a white pixel is eleven times as bright as a black one."""
THRESHOLD, MISMATCH = 300, 12
"""The mean threshold of a pixel, and the standard deviation of the pixels' (in 1/1024 of the logarithm)."""
REFRACTORY = 2
"""Time in which a pixel reports once (ms)."""
NOISE = 40
"""Mean number of a recording's events that are noise."""
STREAM = 6
"""Tells these draws from others: those of a job are named (seed, 0 to 5, number)."""


def simulate(digits: np.ndarray, part: int, first: int = 0) -> Iterator[Events]:
    """Simulates what the sensor sees of each digit.

    Args:
        digits: uint8 [N, 28, 28].
        part: 0 for digits to train on, 1 for those to test on; with the number it names a recording's random draws.
        first: number of the first of the digits in its part.
    """
    moved = _moved(digits)
    for number in range(len(digits)):
        start, stop = np.searchsorted(moved[:, 0], (number, number + 1))
        yield _recorded(moved[start:stop], (0, STREAM, part, first + number))


def position(time: int) -> tuple[int, int]:
    """Where the digit has moved at a time (ms), down and to the right, in 1/256 pixel: slow at the corners."""
    leg = min(time // SACCADE, len(CORNERS) - 2)
    u = time - leg * SACCADE
    smooth = 3 * SACCADE * u**2 - 2 * u**3  # from 0 to SACCADE^3
    down, right = (
        256 * a + (512 * (b - a) * smooth + SACCADE**3) // (2 * SACCADE**3)
        for a, b in zip(CORNERS[leg], CORNERS[leg + 1], strict=True)
    )
    return down, right


def thresholds() -> np.ndarray:
    """Each pixel's threshold, int32 [34, 34]: the sum of twelve uniform draws is about normal."""
    words = np.random.Philox(np.random.SeedSequence((0, STREAM))).random_raw(3 * SENSOR[0] * SENSOR[1])
    draws = words.astype("<u8", copy=False).view("<u2").reshape(*SENSOR, 12).astype(np.int64)
    deviation = (draws.sum(2) - 6 * 65535) * MISMATCH  # in 1/65536
    return (THRESHOLD + (deviation + 2**15 >> 16)).astype(np.int32)


def _moved(digits: np.ndarray) -> np.ndarray:
    """Events by movement alone, digit by digit: int32 [events, 5], digit, time (ms), row, column and polarity."""
    (top, left), (height, width), room = MARGIN, SENSOR, 6
    scene = np.zeros((len(digits), height + 2 * room, width + 2 * room), np.int32)
    scene[:, room + top : room + top + 28, room + left : room + left + 28] = digits
    threshold = thresholds()
    reference: np.ndarray | None = None
    reported = np.full((len(digits), height, width), -REFRACTORY, np.int16)
    parts = []
    for time in range(DURATION):
        seen = LOG[_seen(scene, time, room)]
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


def _seen(scene: np.ndarray, time: int, room: int) -> np.ndarray:
    """The grey that each pixel of the sensor sees [N, 34, 34], between four of the scene's."""
    down, right = position(time)
    (row, y), (column, x) = divmod(256 * room - down, 256), divmod(256 * room - right, 256)
    corners = [
        scene[:, row + i : row + i + SENSOR[0], column + j : column + j + SENSOR[1]] for i in (0, 1) for j in (0, 1)
    ]
    upper = corners[0] * (256 - x) + corners[1] * x
    lower = corners[2] * (256 - x) + corners[3] * x
    return (upper * (256 - y) + lower * y + 2**15) >> 16


def _recorded(moved: np.ndarray, seed: tuple[int, ...]) -> Events:
    """A digit's events to the microsecond, with noise between them."""
    random = np.random.Philox(np.random.SeedSequence(seed))
    words = random.random_raw(1 + len(moved) + 2 * NOISE).astype(np.int64) & (2**62 - 1)
    noise = words[1 + len(moved) :][: int(words[0] % (2 * NOISE + 1))]
    within = words[1 : 1 + len(moved)] % 1000
    t = np.concatenate([1000 * moved[:, 1].astype(np.int64) + within, noise % (1000 * DURATION)])
    place = (noise >> 20) % (2 * SENSOR[0] * SENSOR[1])
    rest = np.stack([place // 2 // SENSOR[1], place // 2 % SENSOR[1], place % 2], 1)
    y, x, p = np.concatenate([moved[:, 2:].astype(np.int64), rest]).T
    order = np.argsort(t, kind="stable")
    return Events(*(values[order] for values in (t, x, y, p)))
