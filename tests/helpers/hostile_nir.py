"""NIR files that refer to other files, or make their readers build more than fits."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from nir_files import affine, chained, conv, flatten, lif, sixteenths, write

Make = Callable[[Path], object]

SECRET = "do not copy this"
TITLE = "\x1b]0;x\x07"
"""Changes the title of a terminal."""


def _graph(change: Callable[[h5py.File, Path], object], nodes: Any = None) -> Make:
    """A NIR file, changed; its folder contains `secret`."""

    def make(path: Path) -> None:
        path.with_name("secret").write_text(SECRET * 100)
        write(path, nodes or chained((784,), affine(sixteenths(0, 2, 784)), lif()))
        with h5py.File(path, "r+") as file:
            change(file, path)

    return make


WEIGHT = "node/nodes/0/weight"


def _external(file: h5py.File, path: Path) -> None:
    del file[WEIGHT]
    where = [(str(path.with_name("secret")), 0, 2 * 784)]
    file.create_dataset(WEIGHT, (2, 784), np.int8, external=where)


def _virtual(file: h5py.File, path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["x"] = np.ones((2, 784), np.float32)
    layout = h5py.VirtualLayout((2, 784), np.float32)
    layout[...] = h5py.VirtualSource(str(path.with_name("other.h5")), "x", (2, 784))
    del file[WEIGHT]
    file.create_virtual_dataset(WEIGHT, layout)


def _external_link(file: h5py.File, path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["x"] = np.ones((2, 784), np.float32)
    del file[WEIGHT]
    file[WEIGHT] = h5py.ExternalLink(str(path.with_name("other.h5")), "x")


def _piped_link(file: h5py.File, path: Path) -> None:
    os.mkfifo(path.with_name("other.h5"))
    file["node/nodes/more"] = h5py.ExternalLink(str(path.with_name("other.h5")), "x")


def _soft_link(file: h5py.File, path: Path) -> None:
    file["kept"] = file[WEIGHT]
    del file[WEIGHT]
    file[WEIGHT] = h5py.SoftLink("/kept")


def _nested(file: h5py.File, path: Path) -> None:
    """Fourteen graphs, each of which contains the next one ten times."""
    inner = file["node/nodes"]
    for level in range(14):
        graph = file.create_group(f"level{level}")
        graph["type"], graph["edges"] = "NIRGraph", np.array([["0", "1"]], h5py.string_dtype())
        for number in range(10):
            inner[f"{number}{number}"] = graph
        inner = graph.create_group("nodes")
    for number in range(10):
        inner[str(number)] = file["node/nodes/1"]


def _crowd(file: h5py.File, path: Path) -> None:
    nodes = file["node/nodes"].id
    for number in range(2, 100_000):
        nodes.links.create_hard(str(number).encode(), nodes, b"1")


def _number(file: h5py.File, path: Path) -> None:
    del file["node/nodes/1/type"]
    file["node/nodes/1/type"] = 7


def _named(file: h5py.File, path: Path) -> None:
    file[f"node/nodes/{TITLE}"] = file["node/nodes/1"]


def _bomb(file: h5py.File, path: Path) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, (2, 500_000_000), np.float32, chunks=(1, 1_000_000), compression="gzip")


def _unchanged(file: h5py.File, path: Path) -> None:
    pass


HUGE = chained((1, 10**9, 10**9), conv(sixteenths(0, 2, 1, 1, 1), stride=10**9, padding=0), lif(), flatten())
NIR: dict[str, Make] = {
    "external storage": _graph(_external),
    "virtual data set": _graph(_virtual),
    "external link": _graph(_external_link),
    "link to a pipe": _graph(_piped_link),
    "soft link": _graph(_soft_link),
    "nested hard links": _graph(_nested),
    "100,000 nodes": _graph(_crowd),
    "number as type": _graph(_number),
    "escape in a name": _graph(_named),
    "bomb": _graph(_bomb),
    "huge input": _graph(_unchanged, HUGE),
}
