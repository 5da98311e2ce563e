"""Folders of recordings, one per class, in any format that faery reads or as NumPy archives; N-MNIST's among them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from csnn_jax import reading
from csnn_jax.config.job import Config
from csnn_jax.data.datasets import reader_of
from csnn_jax.data.events.decoder import DECODER, TYPES
from csnn_jax.data.events.frames import Recordings, Window
from csnn_jax.data.events.recording import LARGEST, LATEST, MOST_EVENTS, Events, Size, read_bin
from csnn_jax.data.folders import Classes, in_turn, read_parts, skipped
from csnn_jax.data.npz import read_npz
from csnn_jax.data.source import Raw, Reader, Wanted
from csnn_jax.errors import UserError

ARRAYS = ("x", "y", "t", "p")
SUFFIXES = (".bin", ".npz", *TYPES)
"""The file extensions of recordings."""
NMNIST_SENSOR = (34, 34)
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
    others = (f"events:{where}: {note}" for note in skipped(where, SUFFIXES, "an extension of recordings"))
    return _raw(where, (train, test), read_recording, Window.of(wanted, sensor), *others)


def read_nmnist(where: str, wanted: Wanted) -> Raw:
    """Reads N-MNIST (Orchard et al. 2015) as published by its authors: `Train/0/00002.bin` and so on.

    Args:
        where: the folder with `Train` and `Test`, each with the folders 0 to 9; use `events:` for fewer classes.
        wanted: the network's input.

    Raises:
        UserError: a folder is missing or empty, or the sensor's size isn't a multiple of the shape.
    """
    parts = read_parts(where, (".bin",), "recordings")
    if [*parts[0]] != [*"0123456789"]:
        raise UserError(f"{where}: has the classes {', '.join(parts[0])}, expected the digits 0 to 9")
    return _raw(where, parts, read_bin, Window.of(wanted, NMNIST_SENSOR))


def _raw(
    where: str, parts: tuple[Classes, Classes], read: Callable[[Path], Events], window: Window, *notes: str
) -> Raw:
    train, test = ((Recordings(paths, read, window), labels) for paths, labels in map(in_turn, parts))
    return Raw(train, test, tuple(parts[0]), notes=(*window.summary(where), *notes))


def read_recording(path: Path) -> Events:
    """Reads the events of one file; for errors, see `open_recording`."""
    return open_recording(path)[0]


def _sensor(paths: Sequence[Path]) -> Size:
    """The size of all recordings' sensor: as stated in the files, or else the smallest that covers all events."""
    known: Size | None = None
    height = width = 1
    for path in paths:
        events, stated = open_recording(path)
        if known and stated and stated != known:
            sizes = " but ".join(f"{size[0]} by {size[1]}" for size in (stated, known))
            raise UserError(f"{path}: its sensor has {sizes} pixels in earlier files, expected one sensor for all")
        known = known or stated
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
    stored = read_npz(path, 32 * MOST_EVENTS, (*ARRAYS, "height", "width"))
    if missing := [name for name in ARRAYS if name not in stored]:
        raise UserError(f"{path}: has no array {missing[0]}, expected a recording, with x, y, t and p")
    x, y, t, p = arrays = [stored[name] for name in ARRAYS]
    sides = [stored[name] for name in ("height", "width") if name in stored]
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
NMNIST = Reader(read_nmnist, recordings=True, sensor=NMNIST_SENSOR)


def is_recording(path: str) -> bool:
    """Whether a file is a recording, judged by its extension."""
    return Path(path).suffix.lower() in SUFFIXES


def window_of(config: Config) -> Window | None:
    """The window that makes the frames of a trained network; None unless its input has two channels.

    The sensor is the data set's, or has the size of the frames if the data set allows any sensor.
    """
    height, width, channels = config.model.input_shape
    if channels != 2:
        return None
    sensor = _known(config) or (height, width)
    return Window(config.model.time_steps, sensor, (height, width), config.data.frames)


def _known(config: Config) -> tuple[int, int] | None:
    reader = reader_of(config.data.dataset)
    return reader.sensor if reader else None


def frames_of(path: str, config: Config) -> np.ndarray:
    """The frames of `frames_and_notes`, without the notes."""
    return frames_and_notes(path, config)[0]


def frames_and_notes(path: str, config: Config) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads a recording and makes a trained network's frames, with the settings of its training.

    Args:
        path: in N-MNIST's format (.bin), a NumPy archive (.npz), or a format that faery reads.
        config: the network's training job.

    Returns:
        Frames, uint8 [T, H, W, 2], and notes for the user on how they were made.

    Raises:
        UserError: the recording can't be read or used, or comes from another sensor; the message names it.
    """
    events, stated = open_recording(Path(path))
    window = window_of(config)
    if window is None:
        raise UserError(f"{path}: is a recording, but the network's input doesn't have 2 channels")
    sensor, (height, width) = stated or window.sensor, window.shape
    known = sensor if _known(config) is None else window.sensor
    if sensor != known or sensor[0] % height or sensor[1] % width:
        expected = f"a multiple of the network's {height} by {width}"
        if sensor != known:
            expected = f"{known[0]} by {known[1]}, as in {config.data.dataset}"
        raise UserError(f"{path}: from a sensor of {sensor[0]} by {sensor[1]} pixels, expected {expected}")
    try:
        frames = replace(window, sensor=sensor).frames(events)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if sensor == (height, width):
        return frames, ()
    return frames, (f"events of {sensor[0]} by {sensor[1]} pixels were summed to {height} by {width}",)
