"""NumPy archives (.npz), which may be damaged or untrusted: every size is checked before it's used.

`np.load` allocates any size that a header states, unpacks members of any size, evaluates headers as Python, and raises
all kinds of exceptions.
"""

import io
import math
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from csnn_jax import reading
from csnn_jax.errors import UserError, first_line

HEADER = re.compile(rb"'descr': *'([<>|=][biufSU]\d{1,6})', *'fortran_order': *(True|False), *'shape': *\(([\d, ]*)\)")
"""Header of an array of booleans, numbers or text, as NumPy writes it."""
LONGEST = 2**16
"""Maximum length of a header in bytes."""
PIECE = 2**20
"""Maximum number of bytes that are read at once, which also limits an archive's list of members."""


class Header(NamedTuple):
    """What an array's header states."""

    dtype: np.dtype
    shape: tuple[int, ...]
    by_column: bool

    @property
    def nbytes(self) -> int:
        """The size of the array's values."""
        return math.prod(self.shape) * self.dtype.itemsize


class Pieces(io.BufferedReader):
    """A file of which zipfile reads only pieces: for a list of millions of members, it would make as many objects.

    Args:
        file: the file, which can't be used any more.
    """

    def __init__(self, file: io.BufferedReader):
        super().__init__(file.detach())

    def read(self, size: int | None = -1, /) -> bytes:
        if (size or 0) > PIECE:
            raise ValueError("has too many members")
        return super().read(PIECE if size is None or size < 0 else size)  # the last bytes of the file


Check = Callable[[Mapping[str, Header]], object]
"""Raises UserError or ValueError if the arrays in an archive aren't as expected."""


def read_npz(
    path: Path, most: int, names: Collection[str] | None = None, check: Check | None = None
) -> dict[str, np.ndarray]:
    """Reads arrays from an archive. Nothing but headers is read until all of them have been checked.

    Args:
        path: the archive.
        most: maximum total size of these arrays in bytes.
        names: names of the arrays; missing ones are skipped. None: all.
        check: checks the headers by name.

    Raises:
        UserError: the archive can't be read, is damaged, contains anything but arrays, or is too large.
        ValueError: from `check`.
    """
    with Pieces(reading.opened(path, "a NumPy archive")) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for one in archive.infolist():
                    archive.open(one).close()  # fails if its name differs from the one in the list
                there = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
                members = {name: one for name, one in there.items() if names is None or name in names}
                headers = {name: _header(archive, one) for name, one in members.items()}
        except Exception as error:
            raise _damaged(path, error) from None
        if (size := sum(one.nbytes for one in headers.values())) > most:
            raise UserError(f"{path}: its arrays take {size:,} bytes, expected at most {most:,}")
        if check:
            check(headers)
        try:
            with zipfile.ZipFile(file) as archive:
                return {name: _array(archive, one, headers[name]) for name, one in members.items()}
        except Exception as error:
            raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    """The error for whatever zipfile, zlib and NumPy raise on damaged bytes."""
    if isinstance(error, MemoryError):
        return UserError(f"{path}: its arrays don't fit into memory")
    if path.suffix == ".npy":
        return UserError(f"{path}: expected a NumPy archive of named arrays, from numpy.savez")
    return UserError(f"{path}: damaged ({first_line(error)!r}), expected a NumPy archive")


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    """Reads an array's header, and compares the stated size with the member's."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others may unpack more than requested
        raise ValueError(f"{member.filename} is compressed in a way that NumPy doesn't use")
    with archive.open(member) as file:
        start = _start(file)
    match = HEADER.search(start)
    if not start.startswith(b"\x93NUMPY") or match is None:
        raise ValueError(f"{member.filename} isn't an array of numbers or text")
    shape = tuple(map(int, re.findall(rb"\d+", match[3])))
    header = Header(np.dtype(match[1].decode()), shape, match[2] == b"True")
    if not header.dtype.itemsize:
        raise ValueError(f"{member.filename} has values without bytes")
    if (size := member.file_size - len(start)) != header.nbytes:
        raise ValueError(f"{member.filename} has {size} bytes, not {header.dtype} {list(shape)}")
    return header


def _start(file: IO[bytes]) -> bytes:
    """Everything before an array's values."""
    begin = file.read(8)
    length = file.read(2 if begin == b"\x93NUMPY\x01\x00" else 4)
    return begin + length + file.read(min(int.from_bytes(length, "little"), LONGEST))


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: Header) -> np.ndarray:
    array = np.empty(header.shape, header.dtype, order="F" if header.by_column else "C")
    values = array.reshape(-1, order="A").view(np.uint8).data if array.size else memoryview(b"")
    with archive.open(member) as file:
        _start(file)
        filled = 0
        while filled < len(values):
            part = file.read(min(PIECE, len(values) - filled))
            if not part:
                raise ValueError(f"{member.filename} ends after {filled} bytes, not {len(values)}")
            values[filled : filled + len(part)] = part
            filled += len(part)
        if file.read(1):
            raise ValueError(f"{member.filename} has more than {filled} bytes")
    return array
