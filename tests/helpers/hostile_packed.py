"""Archives that unpack to much more than their size, or whose headers lie."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

Make = Callable[[Path], object]

LARGE = 4_000_000_000
"""Bytes that a bomb unpacks to: twice what a command may take."""


def _npy(shape: str, descr: str = "|u1") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def _zeros_after(start: bytes, count: int, form: int) -> bytes:
    """A deflate stream of some bytes and then zeros, made without compressing them all; `form`: zlib's wbits."""
    packer, piece = zlib.compressobj(9, zlib.DEFLATED, form), bytes(2**24)
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    repeated = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = repeated.compress(piece) + repeated.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compressobj(9, zlib.DEFLATED, -15)
    end = rest.compress(bytes(count % len(piece))) + rest.flush(zlib.Z_FINISH)
    return first + block * (count // len(piece)) + end


def _zip(path: Path, members: dict[str, bytes | tuple[bytes, int]]) -> None:
    """An archive of data, or of deflated streams with their sizes and a wrong checksum."""
    data, listed = b"", b""
    for name, member in members.items():
        stream, size = (_zeros_after(member, 0, -15), len(member)) if isinstance(member, bytes) else member
        checksum = zlib.crc32(member) if isinstance(member, bytes) else 0
        fields = struct.pack("<5HIII2H", 20, 0, 8, 0, 33, checksum, len(stream), size, len(name), 0)
        listed += b"PK\x01\x02\x14\x00" + fields + struct.pack("<3H2I", 0, 0, 0, 0, len(data)) + name.encode()
        data += b"PK\x03\x04" + fields + name.encode() + stream
    end = struct.pack("<4H2IH", 0, 0, len(members), len(members), len(listed), len(data), 0)
    path.write_bytes(data + listed + b"PK\x05\x06" + end)


def npz(**arrays: tuple[str, int] | np.ndarray) -> Make:
    """An archive of arrays, or of zeros with a shape as text and a number of bytes."""

    def make(path: Path) -> None:
        members: dict[str, bytes | tuple[bytes, int]] = {}
        for name, array in arrays.items():
            if isinstance(array, tuple):
                start, count = _npy(array[0]), array[1]
                members[f"{name}.npy"] = _zeros_after(start, count, -15), len(start) + count
            else:
                file = io.BytesIO()
                np.save(file, array)
                members[f"{name}.npy"] = file.getvalue()
        _zip(path, members)

    return make


def larger_than_memory(path: Path) -> None:
    """Images and labels that match, of almost 4 GB each, the most that an archive can state in 32 bits."""
    count = 2**32 - 1000
    wide = _npy(f"({count // 8},)", "<i8")
    tall = _npy(f"({count // 8}, 1, 1, 1)", "<f8")
    starts, size = {"images.npy": tall, "labels.npy": wide}, count // 8 * 8
    _zip(path, {name: (_zeros_after(start, size, -15), len(start) + size) for name, start in starts.items()})


def many_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(25_000):
            archive.writestr(f"{number:050}", b"")


def gz(header: tuple[int, ...], count: int) -> Make:
    start = struct.pack(f">{len(header)}I", *header)
    return lambda path: path.write_bytes(_zeros_after(start, count, 31) + bytes(8))  # a wrong checksum


def deflated(path: Path) -> None:
    """A state_dict of 4 GB of zeros in an archive of 4 MB."""
    torch.save({"fc1.weight": torch.zeros(10, 784), "lif1.beta": torch.tensor(0.5)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    folder = next(iter(members)).split("/")[0]
    text = members[f"{folder}/data.pkl"].replace(b"M\x10\x1e", struct.pack("<cI", b"J", LARGE // 4 // 2))
    members[f"{folder}/data.pkl"] = text
    _zip(path, members | {f"{folder}/data/0": (_zeros_after(b"", LARGE, -15), LARGE)})
