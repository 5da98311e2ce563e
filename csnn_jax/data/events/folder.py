"""Folders of recordings, one for each class, in any format that faery reads, or as NumPy's archives."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax.data.events.five_bytes import read_bin
from csnn_jax.data.events.frames import Window
from csnn_jax.data.events.recording import Events
from csnn_jax.data.events.recordings import Recordings
from csnn_jax.data.events.sensor import fitted
from csnn_jax.data.source import Pair, Raw, Wanted
from csnn_jax.errors import UserError, first_line

Size = tuple[int, int]
"""Height and width of a sensor (pixels)."""

ARRAYS = ("x", "y", "t", "p")
FORMATS = (".aedat", ".aedat4", ".csv", ".dat", ".es", ".raw")
"""What faery reads, by the ends of the files' names; .raw is EVT2, EVT2.1 or EVT3."""
SUFFIXES = (".bin", ".npz", *FORMATS)
"""What all recordings' names may end in."""


def read_folders(where: str, wanted: Wanted) -> Raw:
    """Reads recordings from `train/CLASS/FILE` and `test/CLASS/FILE`, whatever the classes are called.

    Args:
        where: the folder with `train` and `test`, which may begin with a capital letter. A file is an archive of NumPy
            (.npz) with arrays x, y, t (microseconds) and p (0 or 1) and maybe `width` and `height` of the sensor, in
            the format of N-MNIST and N-Caltech101 (.bin), or in one of `FORMATS`, which the package faery reads.
        wanted: what the network takes in.

    Raises:
        UserError: no such folder, no recordings or none of a class, recordings of several sensors, or a shape that is
            no whole fraction of the sensor's.
    """
    train, test = (_classes(_part(Path(where), part)) for part in ("train", "test"))
    if without := sorted(set(train) ^ set(test)):
        there, other = ("train", "test") if without[0] in train else ("test", "train")
        raise UserError(f"{where}: has the class {without[0]} in {there} but not in {other}, expected it in both")
    paths = [[path for files in part.values() for path in files] for part in (train, test)]
    sensor = _sensor([*paths[0], *paths[1]])
    window = Window(wanted.time_steps, sensor, fitted(wanted, sensor), wanted.rules)

    def pair(files: list[Path], part: dict[str, list[Path]]) -> Pair:
        labels = np.repeat(np.arange(len(part)), list(map(len, part.values())))
        return Recordings(files, read_recording, window), labels

    return Raw(pair(paths[0], train), pair(paths[1], test), tuple(train), notes=window.told(where))


def read_recording(path: Path) -> Events:
    """Reads the events of one file; errors as `open_recording`'s."""
    return open_recording(path)[0]


def _sensor(paths: Sequence[Path]) -> Size:
    """The sensor of all recordings: what each file says, else the smallest that has all pixels with events."""
    known: Size | None = None
    height = width = 1
    for path in paths:
        events, told = open_recording(path)
        if known and told and told != known:
            sizes = " but ".join(f"{size[0]} by {size[1]}" for size in (told, known))
            raise UserError(f"{path}: its sensor has {sizes} pixels in others before, expected one sensor for all")
        known = known or told
        height = max(height, int(events.y.max(initial=0)) + 1)
        width = max(width, int(events.x.max(initial=0)) + 1)
    return known or (height, width)


def open_recording(path: Path) -> tuple[Events, Size | None]:
    """A file's events, and the height and width of the sensor if it tells them.

    Raises:
        UserError: it can't be read, or is in no format that is known.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file, expected a recording")
    if path.suffix.lower() == ".bin":
        return read_bin(path), None
    return _archive(path) if path.suffix.lower() == ".npz" else _by_faery(path)


def _archive(path: Path) -> tuple[Events, Size | None]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            x, y, t, p = (archive[name] for name in ARRAYS)
            sides = [archive[name] for name in ("height", "width") if name in archive]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        why = first_line(error) if isinstance(error, KeyError) else "is none that can be read"
        raise UserError(f"{path}: {why}, expected a NumPy archive with x, y, t and p") from None
    if any(side.dtype.kind not in "iu" or side.ndim or side < 1 for side in sides):
        raise UserError(f"{path}: height and width are {' and '.join(map(str, sides))}, expected whole numbers")
    if len({array.shape for array in (x, y, t, p)}) > 1 or x.ndim != 1:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in zip(ARRAYS, (x, y, t, p), strict=True))
        raise UserError(f"{path}: {shapes}, expected one value per event in each")
    for name, array in zip(ARRAYS, (x, y, t, p), strict=True):
        if array.dtype.kind not in "iub":
            raise UserError(f"{path}: {name} is of type {array.dtype}, expected whole numbers (t in microseconds)")
    if not {0, 1} >= (values := set(np.unique(p).tolist())):
        raise UserError(f"{path}: p has the values {', '.join(map(str, sorted(values)[:4]))}, expected 0 and 1")
    sensor = (int(sides[0]), int(sides[1])) if len(sides) == 2 else None
    return Events(*(array.astype(np.int64) for array in (t, x, y, p))), sensor


def _by_faery(path: Path) -> tuple[Events, Size | None]:
    try:
        import faery
    except ImportError as error:
        expected = "expected the package faery, by pip install 'csnn-jax[events]', or .npz files"
        raise UserError(f"{path}: {error}; {expected}") from error
    unknown = (65535, 65535)
    try:
        stream = faery.events_stream_from_file(path, dimensions_fallback=unknown)
        found: Any = stream.to_array()
        width, height = stream.dimensions()
    except Exception as error:  # it raises OSError, RuntimeError, ValueError and others on bad files
        raise UserError(f"{path}: {first_line(error)}, expected a recording that faery reads") from error
    events = Events(*(found[name].astype(np.int64) for name in ("t", "x", "y", "on")))
    return events, (height, width) if (width, height) != unknown else None


def _part(folder: Path, name: str) -> Path:
    for one in (folder / name, folder / name.capitalize()):
        if one.is_dir():
            return one
    raise UserError(f"{folder}: has no folder {name}, expected {name}/CLASS/FILE")


def _classes(folder: Path) -> dict[str, list[Path]]:
    """The files of each class, and of folders inside it, in the order of their names."""
    found = {
        one.name: sorted(path for path in one.rglob("*") if path.suffix.lower() in SUFFIXES)
        for one in sorted(folder.iterdir())
        if one.is_dir()
    }
    if not found:
        raise UserError(f"{folder}: has no folders, expected one for each class")
    if empty := [name for name, files in found.items() if not files]:
        known = ", ".join(SUFFIXES)
        raise UserError(f"{folder / empty[0]}: has no recordings, expected files that end in one of {known}")
    return found
