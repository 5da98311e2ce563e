"""Folders of pictures, one for each class: PNG and JPEG files of any size, as `images:DIR`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from csnn_jax.data.class_folders import Classes, in_turn, read_parts, skipped
from csnn_jax.data.images import Shape, fit
from csnn_jax.data.pictures import Picture, opened
from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.progress import followed

FORMATS = ("PNG", "JPEG")
SUFFIXES = (".png", ".jpg", ".jpeg")
TOLD = 2000
"""Pictures that take so long to read that progress is shown."""
SMALL = 128
"""Pixels a side up to which a network may well take pictures as they are."""


def read_folders(where: str, wanted: Wanted) -> Raw:
    """Reads pictures from `train/CLASS/FILE` and `test/CLASS/FILE`, whatever the classes are called.

    Files are decoded one by one into an array of the network's shape, so large photos take no more memory than small
    ones. Their order mixes the classes evenly (`class_folders.in_turn`).

    Args:
        where: the folder with `train` and, unless training images are held out in its place, `test`.
        wanted: the shape that pictures get, and how many of them.

    Raises:
        UserError: as `class_folders.read_parts`; or a picture that can't be read, or is animated.
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
    if others := skipped(where, SUFFIXES):
        said.append(f"{source}: {len(others):,} skipped, not named as PNG or JPEG files, such as {others[0]}")
    return Raw(*pairs, tuple(train), notes=tuple(said))


def read_picture(path: str, shape: Shape) -> Picture:
    """Reads one picture as for training: as `pictures.opened` does, and then resized as a whole.

    Args:
        path: a PNG or JPEG file.
        shape: (H, W, C) to reach.

    Raises:
        UserError: as `pictures.opened`; or C is neither 1 nor 3.
    """
    return _fitted(_read(path), shape, path)


def _pixels(files: Sequence[Path], shape: Shape, source: str, seen: set[Shape], notes: dict[str, None]) -> np.ndarray:
    """Pictures as uint8 [N, H, W, C]; adds the shapes that they had to `seen`, and what was changed to `notes`."""
    pixels = np.empty((len(files), *shape), np.uint8)
    told = f"Data: reads {len(files):,} pictures"
    for row, path in enumerate(followed(files, told, len(files)) if len(files) > TOLD else files):
        read = _read(path)
        seen.add(read.shape)
        picture = _fitted(read, shape, source)
        pixels[row] = picture.pixels
        notes |= dict.fromkeys(picture.notes)
    return pixels


def _read(path: str | Path) -> np.ndarray:
    """A picture as uint8 [height, width, 1], or [height, width, 3] if its file has colors."""
    pixels = np.asarray(opened(path, FORMATS))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _fitted(pixels: np.ndarray, shape: Shape, source: str) -> Picture:
    fitted, notes = fit(pixels[None], shape, source)
    return Picture(fitted[0], tuple(notes))


READER = Reader(read_folders, picture=read_picture)
