"""Folders of recordings, one per class, in any format that faery reads or as NumPy archives."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from csnn_jax import reading
from csnn_jax.data.class_folders import Classes, in_turn, read_parts, skipped
from csnn_jax.data.events.decoder import DECODER, TYPES
from csnn_jax.data.events.five_bytes import read_bin
from csnn_jax.data.events.frames import Window, fitted
from csnn_jax.data.events.recording import LARGEST, LATEST, MOST_EVENTS, Events, Size
from csnn_jax.data.events.recordings import Recordings
from csnn_jax.data.npz import read_npz
from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.errors import UserError

ARRAYS = ("x", "y", "t", "p")
SUFFIXES = (".bin", ".npz", *TYPES)
"""The file extensions of recordings."""
MOST_BYTES = 2**30
"""Maximum size of a recording's file: 64 bytes per event, as text with long numbers."""


def read_folders(where: str, wanted: Wanted) -> Raw:
    """Reads recordings from `train/CLASS/FILE` and `test/CLASS/FILE`, with any class names.

    Args:
        where: the folder with `train` and `test`, which may be capitalized. A file is a NumPy archive (.npz) with
            arrays x, y, t (microseconds) and p (0 or 1) and optionally `width` and `height` of the sensor, or it's in
            the format of N-MNIST and N-Caltech101 (.bin) or one of `decoder.TYPES`, which the package faery reads.
        wanted: the network's input.

    Raises:
        UserError: the folder or the recordings of a class are missing, there are several sensors, or the sensor's size
            isn't a multiple of the shape.
    """
    train, test = read_parts(where, SUFFIXES, "recordings")
    sensor = _sensor([path for part in (train, test) for files in part.values() for path in files])
    window = Window(wanted.time_steps, sensor, fitted(wanted, sensor), wanted.frames)

    def pair(part: Classes) -> Pair:
        paths, labels = in_turn(part)
        return Recordings(paths, read_recording, window), labels

    others = (f"events:{where}: {note}" for note in skipped(where, SUFFIXES, "an extension of recordings"))
    return Raw(pair(train), pair(test), tuple(train), notes=(*window.summary(where), *others))


def read_recording(path: Path) -> Events:
    """Reads the events of one file; for errors, see `open_recording`."""
    return open_recording(path)[0]


def _sensor(paths: Sequence[Path]) -> Size:
    """The size of all recordings' sensor: as stated in the files, or else the smallest that covers all events."""
    known: Size | None = None
    height = width = 1
    for path in paths:
        events, told = open_recording(path)
        if known and told and told != known:
            sizes = " but ".join(f"{size[0]} by {size[1]}" for size in (told, known))
            raise UserError(f"{path}: its sensor has {sizes} pixels in earlier files, expected one sensor for all")
        known = known or told
        height = max(height, int(events.y.max(initial=0)) + 1)
        width = max(width, int(events.x.max(initial=0)) + 1)
    return known or (height, width)


def open_recording(path: Path) -> tuple[Events, Size | None]:
    """Returns a file's events, and the height and width of the sensor if the file states them.

    Raises:
        UserError: the file can't be read, has an unknown format, or has a sensor or times that no camera has.
    """
    reading.check(path, "a recording", MOST_BYTES)
    match path.suffix.lower():
        case ".bin":
            events, sensor = read_bin(path), None
        case ".npz":
            events, sensor = _archive(path)
        case _:
            events, sensor = DECODER.read(path)
    if sensor and not all(0 < side <= LARGEST for side in sensor):
        sides = " by ".join(map(str, sensor))
        raise UserError(f"{path}: its sensor has {sides} pixels, expected at most {LARGEST} by {LARGEST}")
    for name, values, limit in (("x", events.x, LARGEST), ("y", events.y, LARGEST), ("t", events.t, LATEST)):
        if values.size and (values.max() >= limit or values.min() < -limit):
            raise UserError(f"{path}: has an event at {name} = {values.max()}, expected less than {limit}")
    return Events(*(values.astype(np.int64, copy=False) for values in events)), sensor


def _archive(path: Path) -> tuple[Events, Size | None]:
    found = read_npz(path, 32 * MOST_EVENTS, (*ARRAYS, "height", "width"))
    if missing := [name for name in ARRAYS if name not in found]:
        raise UserError(f"{path}: has no array {missing[0]}, expected a NumPy archive with x, y, t and p")
    x, y, t, p = arrays = [found[name] for name in ARRAYS]
    sides = [found[name] for name in ("height", "width") if name in found]
    if any(side.dtype.kind not in "iu" or side.ndim for side in sides):
        raise UserError(f"{path}: height and width are {' and '.join(map(str, sides))}, expected whole numbers")
    if len({array.shape for array in arrays}) > 1 or x.ndim != 1:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in zip(ARRAYS, arrays, strict=True))
        raise UserError(f"{path}: {shapes}, expected one value per event in each")
    for name, array in zip(ARRAYS, arrays, strict=True):
        if array.dtype.kind not in "iub":
            raise UserError(f"{path}: {name} is of type {array.dtype}, expected whole numbers (t in microseconds)")
    if not {0, 1} >= (values := set(np.unique(p).tolist())):
        raise UserError(f"{path}: p has the values {', '.join(map(str, sorted(values)[:4]))}, expected 0 and 1")
    return Events(t, x, y, p), (int(sides[0]), int(sides[1])) if len(sides) == 2 else None


READER = Reader(read_folders, recordings=True)
