"""PNG files of kinds that Pillow doesn't write, and folders of pictures."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

GRAY, COLOR, GRAY_ALPHA, COLOR_ALPHA = 0, 2, 4, 6
"""The pixel types of a PNG."""


def png(pixels: np.ndarray, kind: int, clear: tuple[int, ...] = ()) -> bytes:
    """A PNG file of uint8 or uint16 pixels [height, width, channels]; pixels equal to `clear` are transparent."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, kind, 0, 0, 0)
    key = _chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)) if clear else b""
    chunks = _chunk(b"IHDR", head) + key + _chunk(b"IDAT", zlib.compress(body)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def write_shapes(
    folder: Path, parts: dict[str, int], names: tuple[str, ...] = ("circle", "cross"), size: int = 16
) -> str:
    """Writes pictures of bright disks, crosses and squares on dark pixels; returns the value for `--dataset`."""
    random, across = np.random.default_rng(0), np.abs(np.arange(size) - size // 2)
    y, x = across[:, None], across[None]
    drawn = [x**2 + y**2 < size * 2, (x < 2) | (y < 2), np.maximum(x, y) < size // 3]
    for part, count in parts.items():
        for name, shown in zip(names, drawn, strict=False):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 60, (size, size)) + 180 * np.roll(shown, random.integers(-2, 3, 2), (0, 1))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / part / name / f"{number}.png")
    return f"images:{folder}"
