"""Reads a NIR file (HDF5) as stored: its nodes by name, and its edges.

`nir.read` builds nodes whose parameters must all have the same shape, and checks shapes that some programs write wrong.
Here, values are returned unchanged, and checked where a node is used.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.errors import UserError, first_line, one_line

NEWEST = (1, 0, 8)
"""The newest supported version of nir's files."""
SIGNATURE = b"\x89HDF\r\n\x1a\n"
_EXPECTED = "expected a graph written by nir.write"
_DEEPEST = 16
"""Maximum depth of nested graphs, because a file's graph may contain itself."""
_PACKED = 1100
"""Maximum bytes of values per stored byte: more than HDF5's compression achieves, so small files can't fill memory."""


class StoredNode(NamedTuple):
    """A node.

    Attributes:
        kind: `Conv2d`, `LIF`, ...
        values: its parameters by name: arrays, or text.
    """

    kind: str
    values: dict[str, Any]


class Graph(NamedTuple):
    """A graph of nodes, some of which may be graphs.

    Attributes:
        nodes: by name; HDF5 doesn't keep their order.
        edges: (from, to) pairs of names.
        metadata: numbers and text that its writer added.
    """

    nodes: dict[str, "StoredNode | Graph"]
    edges: list[tuple[str, str]]
    metadata: dict[str, Any]


def is_nir(path: str) -> bool:
    """Whether a file should be a NIR file, judged by its name or its first bytes."""
    try:
        with open(path, "rb") as file:
            return path.endswith(".nir") or file.read(len(SIGNATURE)) == SIGNATURE
    except OSError:
        return path.endswith(".nir")


def read(path: str) -> Graph:
    """Reads a NIR file.

    Raises:
        UserError: the file is missing, truncated, of another kind or from a newer nir, or h5py isn't installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"a NIR file needs h5py ({error}); expected `pip install 'csnn-jax[export]'`") from None
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file, {_EXPECTED}")
    try:
        with open(path, "rb") as start:
            if start.read(len(SIGNATURE)) != SIGNATURE:
                raise UserError(f"{path}: isn't an HDF5 file, {_EXPECTED}")
        with h5py.File(path) as file:
            _check_version(file, path)
            if "node" not in file:
                raise UserError(f"{path}: is an HDF5 file without a node, {_EXPECTED}")
            found = _node(file["node"], path)
    except UserError:
        raise
    except Exception as error:  # h5py raises almost anything for a damaged file
        raise UserError(f"{path}: truncated or damaged, {_EXPECTED}: {one_line(first_line(error))}") from None
    if isinstance(found, StoredNode):
        raise UserError(f"{path}: contains a single {found.kind}, {_EXPECTED}")
    return found


def _check_version(file: Any, path: str) -> None:
    if "version" not in file:
        raise UserError(f"{path}: is an HDF5 file without nir's version, {_EXPECTED}")
    version = one_line(str(_value(file["version"], path)))
    parts = version.split(".")
    if not all(part.isdecimal() and part.isascii() for part in parts[:3]):
        raise UserError(f"{path}: has version {version}, expected a version such as {_shown(NEWEST)}")
    if tuple(map(int, parts[:3])) > NEWEST:
        raise UserError(
            f"{path}: was written by nir {version}, expected {_shown(NEWEST)}, the newest supported version, or older"
        )


def _shown(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _node(group: Any, path: str, depth: int = 0) -> StoredNode | Graph:
    if depth > _DEEPEST:
        raise UserError(f"{path}: graphs are nested more than {_DEEPEST} deep, {_EXPECTED}")
    kind = _value(group["type"], path)
    if kind == "NIRGraph":
        nodes = {name: _node(group["nodes"][name], path, depth + 1) for name in group["nodes"]}
        pairs = np.reshape(_value(group["edges"], path), (-1, 2))
        edges = [(_text(start), _text(end)) for start, end in pairs]
        stored = group["metadata"].items() if "metadata" in group else ()
        return Graph(nodes, edges, {name: _value(one, path) for name, one in stored})
    return StoredNode(kind, {name: _value(group[name], path) for name in group if name not in ("type", "metadata")})


def _value(stored: Any, path: str) -> Any:
    """A data set's array, or its text."""
    if stored.nbytes > 2**20 and stored.nbytes > _PACKED * stored.id.get_storage_size():
        raise UserError(f"{path}: {stored.name} has shape {list(stored.shape)}, expected as many values as are stored")
    value = stored[()]
    return _text(value) if isinstance(value, bytes) else value


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
