"""Writes IDX files, the format of MNIST."""

import struct

import numpy as np

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def write_folder(folder, train=(IMAGES, [0, 1]), test=(IMAGES, [1, 0]), name="{}-idx{}-ubyte", pack=bytes):
    for stem, (images, labels) in (("train", train), ("t10k", test)):
        (folder / name.format(f"{stem}-images", images.ndim)).write_bytes(pack(idx(images)))
        (folder / name.format(f"{stem}-labels", 1)).write_bytes(pack(idx(np.array(labels, np.uint8))))
    return folder
