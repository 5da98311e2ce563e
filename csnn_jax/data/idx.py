"""IDX files (the format of http://yann.lecun.com/exdb/mnist) and the MNIST that comes with this package."""

import gzip
import hashlib
import math
import zlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.errors import UserError

MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
    "train-labels-idx1-ubyte.gz": "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
    "t10k-images-idx3-ubyte.gz": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}


def read_idx(path: str | Path) -> np.ndarray:
    """Reads an IDX file of bytes, compressed or not.

    Args:
        path: the file. gzip is detected from its content, not its name.

    Returns:
        Labels uint8 [N] (magic 0x00000801), images uint8 [N, H, W] (0x00000803) or [N, H, W, C] (0x00000804).

    Raises:
        UserError: the file is missing, corrupt, in another format, or longer or shorter than its header states.
    """
    return _parse(_read(Path(path)), str(path))


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
    folder: Traversable = Path(where) if where else files("csnn_jax.data") / "mnist"
    for name, expected in MNIST_SHA256.items():
        found = hashlib.sha256(_read(folder / name)).hexdigest()
        if found != expected:
            raise UserError(f"{folder / name}: SHA-256 {found}, expected {expected}; reinstall csnn-jax")
    train_images, train_labels, test_images, test_labels = (folder / name for name in MNIST_SHA256)
    return Raw(_pair(train_images, train_labels), _pair(test_images, test_labels), tuple("0123456789"))


def _find(folder: Path, stem: str, ranks: str) -> Path:
    names = [f"{stem}{dot}idx{rank}-ubyte{gz}" for gz in ("", ".gz") for dot in "-." for rank in ranks]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder}: has no {names[0]}[.gz]")


def _pair(images_file: Traversable, labels_file: Traversable) -> Pair:
    images, labels = (_parse(_read(file), str(file)) for file in (images_file, labels_file))
    if images.ndim == 1:
        raise UserError(f"{images_file}: magic 0x00000801 (labels), expected 0x00000803 (images)")
    if labels.ndim != 1:
        raise UserError(f"{labels_file}: magic 0x0000080{labels.ndim} (images), expected 0x00000801 (labels)")
    if len(images) != len(labels):
        raise UserError(f"{images_file} has {len(images)} images but {labels_file} has {len(labels)} labels")
    if not images.size:
        raise UserError(f"{images_file}: shape {images.shape}, expected at least one image")
    return images if images.ndim == 4 else images[..., None], labels


def _read(file: Traversable) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: can't be read ({error.strerror}); expected an IDX file") from error


def _parse(data: bytes, name: str) -> np.ndarray:
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{name}: corrupt gzip ({error}); expected a whole IDX file") from error
    magic, rank = data[:4], data[3] if len(data) > 3 else 0
    if magic[:3] != b"\0\0\x08" or rank not in (1, 3, 4):
        raise UserError(
            f"{name}: magic 0x{magic.hex()}, expected 0x00000801 (labels), 0x00000803 or 0x00000804 (images)"
        )
    start = 4 + 4 * rank
    if len(data) < start:
        raise UserError(f"{name}: truncated, {len(data)} bytes, expected a header of {start}")
    shape = tuple(np.frombuffer(data, ">u4", rank, offset=4).tolist())
    found, expected = len(data) - start, math.prod(shape)
    if found != expected:
        kind = "truncated" if found < expected else "trailing bytes"
        raise UserError(f"{name}: {kind}, {found} bytes of data, expected {expected} for shape {shape}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()  # frombuffer returns a read-only array


MNIST, FOLDER = Reader(read_mnist), Reader(read_folder)
