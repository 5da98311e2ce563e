"""N-MNIST in its own files: a folder for each digit in Train and in Test, and a recording in each file."""

import re
from pathlib import Path

import numpy as np

from csnn_jax.data.events.frames import Window
from csnn_jax.data.events.recording import Events
from csnn_jax.data.events.recordings import Recordings
from csnn_jax.data.events.sensor import fitted
from csnn_jax.data.source import Pair, Raw, Wanted
from csnn_jax.errors import UserError

SENSOR = (34, 34)
OVERFLOW = 240
"""A row that no pixel has: from such an event on, the clock is 2^13 us further."""


def read_nmnist(where: str, wanted: Wanted) -> Raw:
    """Reads N-MNIST (Orchard et al. 2015) as its authors publish it: `Train/0/00002.bin` and so on.

    Args:
        where: the folder with `Train` and `Test`, each with the folders 0 to 9.
        wanted: what the network takes in.

    Raises:
        UserError: a folder is missing or without recordings, or a shape that is no whole fraction of the sensor's.
    """
    window = Window(wanted.time_steps, SENSOR, fitted(wanted, SENSOR), wanted.rules)
    train, test = (_split(Path(where) / part, window) for part in ("Train", "Test"))
    return Raw(train, test, tuple("0123456789"), notes=window.told(where))


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


def _split(folder: Path, window: Window) -> Pair:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected one with a folder for each digit, 0 to 9")
    found = sorted((one for one in folder.iterdir() if re.fullmatch(r"\d", one.name)), key=lambda one: one.name)
    if missing := set("0123456789") - {one.name for one in found}:
        raise UserError(f"{folder}: has no folder {min(missing)}, expected one for each digit, 0 to 9")
    places = [sorted(one.glob("*.bin")) for one in found]
    for one, files in zip(found, places, strict=True):
        if not files:
            raise UserError(f"{one}: has no recordings, expected files such as 00002.bin")
    labels = np.repeat(np.arange(10), list(map(len, places)))
    return Recordings([path for files in places for path in files], read_bin, window), labels
