"""Folders of pictures, one per class: PNG and JPEG files of any size, as `images:DIR`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from csnn_jax.data.class_folders import Classes, in_turn, read_parts, skipped
from csnn_jax.data.images import Shape, empty, fit
from csnn_jax.data.pictures import Picture, opened
from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.progress import followed

FORMATS = ("PNG", "JPEG")
SUFFIXES = (".png", ".jpg", ".jpeg")
TOLD = 2000
"""Number of pictures above which progress is shown."""
SMALL = 128
"""Largest side (pixels) at which a network could well use pictures without resizing."""


def read_folders(where: str, wanted: Wanted) -> Raw:
    """Reads pictures from `train/CLASS/FILE` and `test/CLASS/FILE`, with any class names.

    Files are decoded one by one into an array of the network's shape, so large photos take no more memory than small
    ones. Their order mixes the classes evenly (`class_folders.in_turn`).

    Args:
        where: the folder with `train` and `test`; without `test`, training images have to be held out.
        wanted: the shape and number of the pictures.

    Raises:
        UserError: see `class_folders.read_parts`; a picture can't be read, or is animated.
    """
    train, test = read_parts(where, SUFFIXES, "pictures", needs_test=False)
    source, count, seen = f"images:{where}", sum(map(len, train.values())), set[Shape]()
    notes: dict[str, None] = {}

    def pair(part: Classes) -> Pair:
        files, labels = in_turn(part)
        size = wanted.of(len(files), count)
        return _pixels(files[:size], wanted.shape, source, seen, notes), labels[:size]

    pairs = pair(train), pair(test)
    own, said = next(iter(seen)), list(notes)
    if wanted.own and len(seen) == 1 and own != wanted.shape and max(own[:2]) <= SMALL:
        shape = " ".join(map(str, own))
        said.append(f"{source}: all pictures have the shape {shape}; --input-shape {shape} keeps it")
    said += (f"{source}: {note}" for note in skipped(where, SUFFIXES, "a PNG or JPEG extension"))
    return Raw(*pairs, tuple(train), notes=tuple(said))


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
    told = f"Data: reading {len(files):,} pictures"
    for row, path in enumerate(followed(files, told, len(files)) if len(files) > TOLD else files):
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
