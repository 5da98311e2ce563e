"""NumPy archives (.npz), which may be damaged or untrusted: every size is checked before it's used.

`np.load` allocates any size that a header states, unpacks members of any size, evaluates headers as Python, and raises
all kinds of exceptions.
"""

import math
import re
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from csnn_jax.errors import UserError, first_line

HEADER = re.compile(rb"'descr': *'([<>|=][biufSU]\d{1,6})', *'fortran_order': *(True|False), *'shape': *\(([\d, ]*)\)")
"""Header of an array of booleans, numbers or text, as NumPy writes it."""


def read_npz(path: Path, most: int, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Reads arrays from an archive.

    Args:
        path: the archive.
        most: maximum total size of these arrays in bytes.
        names: names of the arrays; missing ones are skipped. None: all.

    Raises:
        UserError: the archive can't be read, is damaged, contains anything but arrays, or is too large.
    """
    try:
        opened = path.open("rb")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: can't be read ({why}), expected a NumPy archive") from None
    try:
        with opened, zipfile.ZipFile(opened) as archive:
            there = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
            read = {name: one for name, one in there.items() if names is None or name in names}
            if (size := sum(one.file_size for one in read.values())) > most:
                raise UserError(f"{path}: its arrays take {size:,} bytes, expected at most {most:,}")
            return {name: _array(archive, one) for name, one in read.items()}
    except UserError:
        raise
    except Exception as error:  # whatever zipfile, zlib and NumPy raise on damaged bytes
        raise UserError(f"{path}: damaged ({first_line(error)!r}), expected a NumPy archive") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Reads an array after comparing the size in its header with the actual one."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others may unpack more than requested
        raise ValueError(f"{member.filename} is compressed in a way that NumPy doesn't use")
    with archive.open(member) as file:
        data = file.read(member.file_size)
    wide = 2 if data[:8] == b"\x93NUMPY\x01\x00" else 4  # bytes of the header's length
    start = 8 + wide + int.from_bytes(data[8 : 8 + wide], "little")
    found = HEADER.search(data[:start])
    if not data.startswith(b"\x93NUMPY") or found is None:
        raise ValueError(f"{member.filename} isn't an array of numbers or text")
    dtype, shape = np.dtype(found[1].decode()), tuple(map(int, re.findall(rb"\d+", found[3])))
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"{member.filename} has {len(data) - start} bytes, not {dtype} {list(shape)}")
    array = np.frombuffer(bytearray(data), dtype, offset=start)  # a bytearray makes it writable
    return array.reshape(shape, order="F" if found[2] == b"True" else "C")
