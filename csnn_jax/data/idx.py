"""IDX files (the format of http://yann.lecun.com/exdb/mnist) and the MNIST that comes with this package."""

import gzip
import hashlib
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax import reading
from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.errors import UserError
from csnn_jax.machine import available_memory

MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
    "train-labels-idx1-ubyte.gz": "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
    "t10k-images-idx3-ubyte.gz": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}


_PACKED = 1100
"""Maximum bytes of data per byte of a gzip file: a little more than deflate achieves."""


def read_idx(path: str | Path) -> np.ndarray:
    """Reads an IDX file of bytes, compressed or not.

    Args:
        path: the file. gzip is detected from its content, not its name.

    Returns:
        Labels uint8 [N] (magic 0x00000801), images uint8 [N, H, W] (0x00000803) or [N, H, W, C] (0x00000804).

    Raises:
        UserError: the file is missing, corrupt, in another format, or longer or shorter than its header states.
    """
    return _values(Path(path), _shape(Path(path)))


def read_folder(where: str | Path, wanted: Wanted | None = None) -> Raw:
    """Reads a data set with MNIST's file names, `train-images-idx3-ubyte` and so on.

    `train-images.idx3-ubyte`, `idx4` (color) and an additional `.gz` also work; a plain file takes precedence over
    `.gz`.

    Args:
        where: the folder.
        wanted: not used.

    Raises:
        UserError: a file is missing, invalid (see `read_idx`) or empty, or the counts of images and labels differ.
    """
    folder = Path(where)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one with train-images-idx3-ubyte[.gz] and so on")
    train = _pair(_find(folder, "train-images", "34"), _find(folder, "train-labels", "1"))
    return Raw(train, _pair(_find(folder, "t10k-images", "34"), _find(folder, "t10k-labels", "1")))


def read_mnist(where: str | Path = "", wanted: Wanted | None = None) -> Raw:
    """Reads MNIST, 60,000 training and 10,000 test images, and verifies its checksums.

    Args:
        where: the folder of its four files; by default those in this package.
        wanted: not used.

    Raises:
        UserError: a file is missing or isn't MNIST's by its SHA-256.
    """
    folder = Path(where) if where else Path(__file__).with_name("mnist")
    for name, expected in MNIST_SHA256.items():
        digest = hashlib.sha256(reading.read(folder / name, "a file of MNIST", 2**24)).hexdigest()
        if digest != expected:
            raise UserError(f"{folder / name}: SHA-256 {digest}, expected {expected}; reinstall csnn-jax")
    train_images, train_labels, test_images, test_labels = (folder / name for name in MNIST_SHA256)
    return Raw(_pair(train_images, train_labels), _pair(test_images, test_labels), tuple("0123456789"))


def _find(folder: Path, stem: str, ranks: str) -> Path:
    names = [f"{stem}{dot}idx{rank}-ubyte{gz}" for gz in ("", ".gz") for dot in "-." for rank in ranks]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder}: has no {names[0]}[.gz]")


def _pair(images_file: Path, labels_file: Path) -> Pair:
    """Reads images and labels, after comparing their headers."""
    shape, labels = _shape(images_file), _shape(labels_file)
    if len(shape) == 1:
        raise UserError(f"{images_file}: magic 0x00000801 (labels), expected 0x00000803 (images)")
    if len(labels) != 1:
        raise UserError(f"{labels_file}: magic 0x0000080{len(labels)} (images), expected 0x00000801 (labels)")
    if shape[:1] != labels:
        raise UserError(f"{images_file} has {shape[0]} images but {labels_file} has {labels[0]} labels")
    if not math.prod(shape):
        raise UserError(f"{images_file}: shape {shape}, expected at least one image")
    images = _values(images_file, shape)
    return images if images.ndim == 4 else images[..., None], _values(labels_file, labels)


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[Any, int, bool]]:
    """Opens a file: its contents, its size on disk, and whether it's compressed.

    Raises:
        UserError: it can't be opened, or a read in the block finds that it's damaged.
    """
    with reading.opened(path, "an IDX file") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            yield gzip.GzipFile(fileobj=file) if packed else file, os.fstat(file.fileno()).st_size, packed
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{path}: corrupt gzip ({error}); expected a whole IDX file") from error


def _shape(path: Path) -> tuple[int, ...]:
    """The shape in a file's header, which the size of the file allows."""
    with _unpacked(path) as (file, size, packed):
        header = file.read(20)
    magic, rank = header[:4], header[3] if len(header) > 3 else 0
    if magic[:3] != b"\0\0\x08" or rank not in (1, 3, 4):
        raise UserError(
            f"{path}: magic 0x{magic.hex()}, expected 0x00000801 (labels), 0x00000803 or 0x00000804 (images)"
        )
    start = _start(rank)
    if len(header) < start:
        raise UserError(f"{path}: truncated, {len(header)} bytes, expected a header of {start}")
    shape = tuple(np.frombuffer(header, ">u4", rank, offset=4).tolist())
    expected = math.prod(shape)
    if not packed and size - start != expected:
        kind = "truncated" if size - start < expected else "trailing bytes"
        raise UserError(f"{path}: {kind}, {size - start} bytes of data, expected {expected} for shape {shape}")
    most = min(_PACKED * size if packed else size, available_memory() // 2)  # half, because images may be copied
    if expected > most:
        raise UserError(f"{path}: shape {shape}, expected at most {most:,} bytes, for its size and the memory here")
    return shape


def _values(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Reads as many values as the header states, uint8."""
    values = np.empty(shape, np.uint8)
    left = values.reshape(-1).data
    with _unpacked(path) as (file, _, _):
        file.read(_start(len(shape)))
        while left and (count := file.readinto(left[: 2**20])):
            left = left[count:]
        if left:
            size = values.size - len(left)
            raise UserError(f"{path}: truncated, {size} bytes of data, expected {values.size} for shape {shape}")
        if file.read(1):
            raise UserError(f"{path}: trailing bytes, expected {values.size} for shape {shape}")
    return values


def _start(rank: int) -> int:
    """The length of a header."""
    return 4 + 4 * rank


MNIST, FOLDER = Reader(read_mnist), Reader(read_folder)
