"""Folders with `train/CLASS/FILE` and `test/CLASS/FILE`, one folder per class; those with pictures are `images:DIR`."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from csnn_jax.config.names import is_class_name
from csnn_jax.data.images import Shape, empty, fit
from csnn_jax.data.pictures import Picture, opened
from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.errors import UserError, one_line
from csnn_jax.progress import followed

PARTS = ("train", "test")
Classes = dict[str, list[Path]]
"""The files of each class; both are sorted by name."""


def read_parts(where: str, suffixes: Collection[str], what: str, needs_test: bool = True) -> tuple[Classes, Classes]:
    """Lists the training files and the test files.

    Names that begin with a dot are skipped. Classes may have subfolders, and `Train` and `Test` may be capitalized.

    Args:
        where: the folder that contains both parts.
        suffixes: file extensions, in lowercase; other files are skipped.
        what: what the files contain, for errors.
        needs_test: whether the test part is required.

    Returns:
        Both parts, with the same classes; the second is empty if its folder is missing.

    Raises:
        UserError: a folder is missing, unreadable or empty, a class is in only one part, or a class name can't be
            printed on one line.
    """
    folder = Path(where)
    if not folder.is_dir():
        raise UserError(f"{one_line(where)}: no such folder, expected one with train/CLASS/FILE")
    parts = [_part(folder, name) for name in PARTS]
    for name, part in zip(PARTS, parts, strict=True):
        if part is None and (needs_test or name == "train"):
            raise UserError(f"{folder}: has no folder {name}, expected {name}/CLASS/FILE")
    train, test = ({} if part is None else _classes(part, suffixes, what) for part in parts)
    if parts[1] is not None and (without := sorted(set(train) ^ set(test))):
        there, other = PARTS if without[0] in train else PARTS[::-1]
        raise UserError(f"{where}: has the class {without[0]} in {there} but not in {other}, expected it in both")
    return train, test


def skipped(where: str, suffixes: Collection[str], extension: str) -> list[str]:
    """One note each about the other files in class folders, and about links to folders, except hidden ones.

    Args:
        where: the folder that contains both parts.
        suffixes: the extensions of the files that are read.
        extension: those extensions, in words.
    """
    folder = Path(where)
    paths = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() not in suffixes)
    inside = ((path, path.relative_to(folder).parts) for path in paths)
    others = [path for path, names in inside if len(names) > 2 and names[0].lower() in PARTS and not _hidden(names)]
    files = [path for path in others if path.is_file()]
    links = [path for path in others if path.is_dir() and path.is_symlink()]
    notes = [f"skipped {len(files):,} without {extension}, such as {files[0]}"] if files else []
    return notes + ([f"skipped links to folders ({len(links):,}), such as {links[0]}"] if links else [])


def in_turn(part: Classes) -> tuple[list[Path], np.ndarray]:
    """All files and their labels [N], classes mixed evenly: any first or last N have each class in proportion.

    Held-out images are therefore of all classes. Nothing is random, and the files of a class stay in order.
    """
    rows = [
        ((2 * place + 1) / len(files), label, path)
        for label, files in enumerate(part.values())
        for place, path in enumerate(files)
    ]
    rows.sort(key=lambda row: row[:2])
    return [path for _, _, path in rows], np.array([label for _, label, _ in rows], np.int64)


def _part(folder: Path, name: str) -> Path | None:
    return next((one for one in (folder / name, folder / name.capitalize()) if one.is_dir()), None)


def _classes(folder: Path, suffixes: Collection[str], what: str) -> Classes:
    """The files of each class, including those in subfolders."""
    try:
        there = sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: can't be read ({error.strerror}), expected a folder for each class") from None
    if not there:
        raise UserError(f"{folder}: has no folders, expected one for each class")
    for one in there:
        if not is_class_name(one.name):
            expected = "expected a name without control characters, and other than -"
            raise UserError(f"{one_line(str(one))}: not a valid class name, {expected}")
    classes = {one.name: _files(one, suffixes) for one in there}
    if empty := [name for name, files in classes.items() if not files]:
        known = ", ".join(suffixes)
        raise UserError(f"{folder / empty[0]}: has no {what}, expected files that end in one of {known}")
    return classes


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return sorted(path for path in paths if not _hidden(path.relative_to(folder).parts))


def _hidden(names: Collection[str]) -> bool:
    return any(name.startswith(".") for name in names)


FORMATS = ("PNG", "JPEG")
SUFFIXES = (".png", ".jpg", ".jpeg")
SHOWS_PROGRESS = 2000
"""Number of pictures above which progress is shown."""
SMALL = 128
"""Largest side (pixels) at which a network could well use pictures without resizing."""


def read_folders(where: str, wanted: Wanted) -> Raw:
    """Reads pictures from `train/CLASS/FILE` and `test/CLASS/FILE`, with any class names.

    Files are decoded one by one into an array of the network's shape, so large photos take no more memory than small
    ones. Their order mixes the classes evenly (`in_turn`).

    Args:
        where: the folder with `train` and `test`; without `test`, training images have to be held out.
        wanted: the shape and number of the pictures.

    Raises:
        UserError: see `read_parts`; a picture can't be read, or is animated.
    """
    train, test = read_parts(where, SUFFIXES, "pictures", needs_test=False)
    source, count, seen = f"images:{where}", sum(map(len, train.values())), set[Shape]()
    notes: dict[str, None] = {}

    def pair(part: Classes) -> Pair:
        files, labels = in_turn(part)
        size = wanted.of(len(files), count)
        return _pixels(files[:size], wanted.shape, source, seen, notes), labels[:size]

    pairs = pair(train), pair(test)
    original, lines = next(iter(seen)), list(notes)
    if wanted.shape_is_default and len(seen) == 1 and original != wanted.shape and max(original[:2]) <= SMALL:
        shape = " ".join(map(str, original))
        lines.append(f"{source}: all pictures have the shape {shape}; --input-shape {shape} keeps it")
    lines += (f"{source}: {note}" for note in skipped(where, SUFFIXES, "a PNG or JPEG extension"))
    return Raw(*pairs, tuple(train), notes=tuple(lines))


def read_picture(path: str, shape: Shape) -> Picture:
    """Reads one picture as training does: opens it with `pictures.opened` and resizes it without cropping.

    Args:
        path: a PNG or JPEG file.
        shape: (H, W, C) of the result.

    Raises:
        UserError: see `pictures.opened`; C is neither 1 nor 3.
    """
    return _fitted(_read(path), shape, path)


def _pixels(files: Sequence[Path], shape: Shape, source: str, seen: set[Shape], notes: dict[str, None]) -> np.ndarray:
    """Reads pictures as uint8 [N, H, W, C]; adds their original shapes to `seen` and the changes to `notes`."""
    pixels = empty((len(files), *shape), source)
    task = f"Data: reading {len(files):,} pictures"
    for row, path in enumerate(followed(files, task, len(files)) if len(files) > SHOWS_PROGRESS else files):
        read = _read(path)
        seen.add(read.shape)
        picture = _fitted(read, shape, source)
        pixels[row] = picture.pixels
        notes |= dict.fromkeys(picture.notes)
    return pixels


def _read(path: str | Path) -> np.ndarray:
    """A picture as uint8 [height, width, 1], or [height, width, 3] if it's in color."""
    pixels = np.asarray(opened(path, FORMATS))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _fitted(pixels: np.ndarray, shape: Shape, source: str) -> Picture:
    fitted, notes = fit(pixels[None], shape, source)
    return Picture(fitted[0], tuple(notes))


READER = Reader(read_folders, picture=read_picture)
