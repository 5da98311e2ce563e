"""Reads a NIR file (HDF5) as stored: its nodes by name, its edges, and its nodes in the order of execution.

`nir.read` builds nodes whose parameters must all have the same shape, and checks shapes that some programs write wrong.
Here, values are returned unchanged, and checked where a node is used.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from csnn_jax import reading
from csnn_jax.config.order import Edges, components, in_order, neighbors, reached
from csnn_jax.errors import UserError, one_line
from csnn_jax.machine import available_memory

NEWEST = (1, 0, 8)
"""The newest supported version of nir's files."""
SIGNATURE = b"\x89HDF\r\n\x1a\n"
_EXPECTED = "expected a graph written by nir.write"
_DEEPEST = 16
"""Maximum depth of nested graphs, because a file's graph may contain itself, and of cycles within cycles."""
MOST_NODES = 10_000
"""Maximum number of nodes; a few hard links make any number of them."""
_VALUES = 32
"""Maximum number of values of a node."""


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
        with reading.opened(path, "a network") as file:
            return path.endswith(".nir") or file.read(len(SIGNATURE)) == SIGNATURE
    except UserError:
        return path.endswith(".nir")


def read(path: str, newer: bool = False) -> Graph:
    """Reads a NIR file.

    Args:
        path: the file.
        newer: accept any version, for a file that another program then reads itself.

    Raises:
        UserError: the file is missing, truncated, of another kind or from a newer nir, refers to other files, or has
            too many nodes; or h5py isn't installed.
    """
    with reading.opened(path, "a graph written by nir.write") as start:
        if start.read(len(SIGNATURE)) != SIGNATURE:
            raise UserError(f"{path}: isn't an HDF5 file, {_EXPECTED}")
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"a NIR file needs h5py ({error}); expected `pip install 'csnn-jax[export]'`") from None
    from csnn_torch.foreign import hdf5

    if problem := hdf5.damage(path, MOST_NODES + 1):
        raise UserError(f"{path}: damaged, {_EXPECTED}: {problem}")
    try:
        with h5py.File(path) as file:
            contents = _Contents(path, available_memory() // 4)
            if not newer:
                contents.check_version(file)
            if "node" not in file:
                raise contents.error(f"is an HDF5 file without a node, {_EXPECTED}")
            if contents.count(contents.item(file, "node")) > MOST_NODES:
                raise contents.error(f"has more than {MOST_NODES:,} nodes, {_EXPECTED} with fewer")
            graph = contents.node(file, "node")
    except UserError:
        raise
    except Exception:  # h5py raises almost anything for a damaged file; its messages are about the format's internals
        raise UserError(f"{path}: truncated or damaged, {_EXPECTED}") from None
    if isinstance(graph, StoredNode):
        raise UserError(f"{path}: contains a single {graph.kind}, {_EXPECTED}")
    return graph


@dataclass
class _Contents:
    """Reads a file's objects, as long as they're in the file itself and not too many.

    Attributes:
        path: the file, for messages.
        room: how many more bytes of values may be read.
        counts: number of nodes in each graph, by its address: hard links can make it part of many others.
    """

    path: str
    room: int
    counts: dict[int, int] = field(default_factory=dict)

    def error(self, text: str) -> UserError:
        """An error about the file, to be raised."""
        return UserError(f"{self.path}: {text}")

    def check_version(self, file: Any) -> None:
        """Raises UserError unless nir's version is supported."""
        if "version" not in file:
            raise self.error(f"is an HDF5 file without nir's version, {_EXPECTED}")
        version, newest = one_line(str(self.value(file, "version"))), ".".join(map(str, NEWEST))
        parts = version.split(".")[:3]
        if not all(part.isdecimal() and part.isascii() for part in parts):
            raise self.error(f"has version {version}, expected a version such as {newest}")
        if tuple(map(int, parts)) > NEWEST:
            raise self.error(f"was written by nir {version}, expected {newest}, the newest supported version, or older")

    def item(self, group: Any, name: str) -> Any:
        """A group or data set."""
        from csnn_torch.foreign import hdf5

        shown = one_line(f"{group.name.rstrip('/')}/{name}")
        if name not in group:
            raise self.error(f"has no {shown}, {_EXPECTED}")
        member, problem = hdf5.member(group, name)
        if problem:
            raise self.error(f"{shown} {problem}")
        return member

    def value(self, group: Any, name: str) -> Any:
        """A data set's array, or its text."""
        from csnn_torch.foreign import hdf5

        stored = self.item(group, name)
        size, kind, shape = stored.nbytes, stored.dtype.kind, stored.shape
        if not hdf5.is_stored(stored):
            raise self.error(f"{one_line(stored.name)} has shape {list(shape)}, expected as many values as are stored")
        self._take(size)
        if kind == "O" and shape:  # text of any length, one by one: all could be the same gigabyte
            if stored.size > 4 * MOST_NODES:
                raise self.error(f"{one_line(stored.name)} has {stored.size:,} texts, {_EXPECTED}")
            texts = [self._text(stored, place) for place in np.ndindex(shape)]
            return np.array(texts, object).reshape(shape)
        return self._text(stored, ()) if kind in "OS" and not shape else stored[()]

    def _text(self, stored: Any, place: tuple[int, ...]) -> str:
        value = stored[place]
        self._take(len(value))
        return _text(value)

    def _take(self, size: int) -> None:
        self.room -= size
        if self.room < 0:
            raise self.error(f"its values don't fit into a quarter of the memory, {_EXPECTED}")

    def count(self, group: Any, depth: int = 0) -> int:
        """Number of nodes of a graph with those of its inner graphs; 1 for another node. Reads no values."""
        import h5py

        if depth > _DEEPEST:
            raise self.error(f"graphs are nested more than {_DEEPEST} deep, {_EXPECTED}")
        if "nodes" not in group:
            return 1
        place = h5py.h5o.get_info(group.id).addr
        if place not in self.counts:
            inner = self.item(group, "nodes")
            each = (self.count(self.item(inner, one), depth + 1) for one in inner)
            self.counts[place] = len(inner) if len(inner) > MOST_NODES else 1 + sum(each)
        return self.counts[place]

    def node(self, above: Any, name: str) -> StoredNode | Graph:
        """A node with its values, or a graph with its nodes."""
        group = self.item(above, name)
        kind = self.value(group, "type")
        if not isinstance(kind, str):
            raise self.error(f"{one_line(group.name)} has a number as its type, expected a name")
        if kind == "NIRGraph":
            inner = self.item(group, "nodes")
            nodes = {one: self.node(inner, one) for one in inner}
            pairs = np.reshape(self.value(group, "edges"), (-1, 2))
            edges = [(_text(start), _text(end)) for start, end in pairs]
            return Graph(nodes, edges, self.values(self.item(group, "metadata")) if "metadata" in group else {})
        return StoredNode(kind, self.values(group))

    def values(self, group: Any) -> dict[str, Any]:
        """The values of a node, or its metadata."""
        names = [one for one in group if one not in ("type", "metadata")]
        if len(names) > _VALUES:
            raise self.error(f"{one_line(group.name)} has {len(names):,} values, expected at most {_VALUES}")
        return {one: self.value(group, one) for one in names}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, eq=False)
class Node:
    """A node between input and output.

    Attributes:
        source: the file, for messages.
        number: its position in the order of execution, from 1, without the input.
        name: its name, or `GRAPH.NODE` for a node of an inner graph.
        kind: `Conv2d`, `LIF`, ...
        values: its parameters, arrays or text.
        inputs: the names of the nodes that it reads.
    """

    source: str
    number: int
    name: str
    kind: str
    values: dict[str, Any]
    inputs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.source}: node {self.number}, `{one_line(self.name)}`"

    def error(self, text: str) -> UserError:
        """An error about this node, to be raised."""
        return UserError(f"{self}: {text}")

    def __getitem__(self, parameter: str) -> Any:
        if parameter not in self.values:
            raise self.error(f"{self.kind} has no {parameter}, expected one")
        return self.values[parameter]

    def numbers(self, parameter: str) -> np.ndarray:
        """A parameter's values.

        Raises:
            UserError: it's missing, or has anything but finite numbers.
        """
        values = np.asarray(self[parameter])
        if values.dtype.kind not in "fiu" or not values.size:
            raise self.error(f"{parameter} is {one_line(str(values.dtype))} {list(values.shape)}, expected numbers")
        if not np.isfinite(values).all():
            raise self.error(f"{parameter} is {values[~np.isfinite(values)][0]}, expected finite numbers")
        return values


_PASSING = ("Input", "Output", "Flatten", "Scale", "Delay")
"""The kinds of nodes that must know all that they read."""
NEURONS = ("IF", "LIF", "CubaLIF", "LI")
"""The kinds of nodes that are neurons."""


class Network(NamedTuple):
    """The nodes between input and output.

    Attributes:
        shape: shape of the input in the file; empty if it has none.
        start: the input's name.
        end: the node that the output reads.
        nodes: each after the nodes that it reads, except through `closing` edges, or one in each cycle with a Delay.
        closing: the edges that close a cycle, see `closing_edges`.
    """

    shape: tuple[int, ...]
    start: str
    end: str
    nodes: tuple[Node, ...]
    closing: frozenset[tuple[str, str]]


def ordered(graph: Graph, source: str) -> Network:
    """The nodes of a graph in order. Inner graphs are replaced by their nodes.

    Raises:
        UserError: it has several inputs or outputs, nodes that aren't between them, or cycles in which no edge is
            clearly the one that closes it; the message names the node.
    """
    nodes, edges = _opened(graph, source)
    for start, end in edges:
        for name in (start, end):
            if name not in nodes:
                raise UserError(
                    f"{source}: has an edge from {_listed([start])} to {_listed([end])}, but no node {_listed([name])}"
                )
    first, last = (_only(graph, kind, source) for kind in ("Input", "Output"))
    edges = _through(nodes, edges, (first, last), source)
    before, after = neighbors(nodes, edges)
    for name, others, verb in ((first, before, "is fed by"), (last, after, "feeds")):
        if others[name]:
            raise UserError(
                f"{source}: {_listed([name])} {verb} {_listed(sorted(others[name]))}, expected no such edge"
            )
    if len(before[last]) != 1:
        listed = _listed(sorted(before[last])) or "nothing"
        raise UserError(f"{source}: {_listed([last])} is fed by {listed}, expected one node as output")
    for start, by, reason in ((first, after, "isn't fed by the input"), (last, before, "doesn't lead to the output")):
        if loose := sorted(nodes.keys() - reached(start, by)):
            raise UserError(f"{source}: {_listed(loose[:1])} {reason}, expected all nodes between input and output")
    try:
        closing = closing_edges(nodes, edges, {name for name, node in nodes.items() if _delays(node)})
    except Entered as error:
        raise UserError(f"{source}: {error}") from None
    starts = {name: node.kind not in NEURONS for name, node in nodes.items() if node.kind not in _PASSING}
    order = in_order(nodes, edges, closing, starts)
    if left := sorted(nodes.keys() - set(order)):
        raise UserError(f"{source}: {_listed(left[:1])} is in a cycle without neurons, expected neurons in every cycle")
    names = [name for name in order if name not in (first, last)]
    inner = (Node(source, i, name, *nodes[name], tuple(before[name])) for i, name in enumerate(names, 1))
    return Network(_shape(nodes[first]), first, before[last][0], tuple(inner), closing)


class Entered(ValueError):
    """Cycles don't show which of their edges closes them; the one-line message names their nodes."""


def closing_edges(nodes: Iterable[str], edges: Edges, late: Container[str] = ()) -> frozenset[tuple[str, str]]:
    """The edges that close cycles, whose values come from the step before.

    A cycle is closed by its edges to the node where it's entered from outside, because there the order of execution
    starts. Without these edges, the rest may have cycles within, which are closed in the same way.

    Args:
        nodes: the names of the nodes.
        edges: between them.
        late: the nodes that delay what they read: cycles through them need no other delay.

    Raises:
        Entered: a cycle is entered at several nodes, or there are too many within others.
    """
    place = {name: number for number, name in enumerate(nodes)}
    left, closing = [(place[start], place[end]) for start, end in edges], set[tuple[int, int]]()
    delayed = {number for name, number in place.items() if name in late}
    for _ in range(_DEEPEST):
        cycle_of = components(len(place), [edge for edge in left if edge[0] not in delayed])
        inside = [edge for edge in left if cycle_of[edge[0]] == cycle_of[edge[1]] and edge[0] not in delayed]
        if not inside:
            names = list(place)
            return frozenset((names[start], names[end]) for start, end in closing)
        entries: dict[int, set[int]] = {}
        for start, end in left:
            if cycle_of[start] != cycle_of[end]:
                entries.setdefault(cycle_of[end], set()).add(end)
        for start, _ in inside:
            if len(entered := entries.get(cycle_of[start], set())) != 1:
                names = sorted(name for name, number in place.items() if number in entered)
                raise Entered(f"a cycle is entered at {_listed(names)}, expected one node where its order starts")
        closed = {edge for edge in inside if edge[1] in entries[cycle_of[edge[1]]]}
        closing |= closed
        left = [edge for edge in left if edge not in closed]
    raise Entered(f"has cycles more than {_DEEPEST} deep within each other, expected fewer")


def _delays(node: StoredNode) -> bool:
    """Whether a node delays what it reads."""
    values = np.asarray(node.values.get("delay", 0))
    return node.kind == "Delay" and values.dtype.kind in "fiu" and bool(values.any())


def _through(nodes: dict[str, StoredNode], edges: Edges, ends: tuple[str, str], source: str) -> list[tuple[str, str]]:
    """The edges without Inputs and Outputs of inner graphs, which change nothing; these are removed from the nodes."""
    before, after = neighbors(nodes, [*dict.fromkeys(edges)])
    for name in [name for name, one in nodes.items() if one.kind in ("Input", "Output") and name not in ends]:
        if len(before[name]) * len(after[name]) > MOST_NODES:
            raise UserError(f"{source}: {_listed([name])} has more than {MOST_NODES:,} connections, expected fewer")
        for start in before[name]:
            after[start] = [one for one in dict.fromkeys((*after[start], *after[name])) if one != name]
        for end in after[name]:
            before[end] = [one for one in dict.fromkeys((*before[end], *before[name])) if one != name]
        del nodes[name], before[name], after[name]
    return [(start, end) for end, starts in before.items() for start in starts]


def _opened(graph: Graph, source: str, prefix: str = "") -> tuple[dict[str, StoredNode], list[tuple[str, str]]]:
    """All nodes by name, with a prefix for inner graphs, and all edges; those to an inner graph enter at its Input."""
    nodes: dict[str, StoredNode] = {}
    edges: list[tuple[str, str]] = []
    starts: dict[str, str] = {}
    ends: dict[str, str] = {}
    for name, one in graph.nodes.items():
        path = prefix + name
        if isinstance(one, StoredNode):
            nodes[path] = one
            starts[name] = ends[name] = path
            continue
        inner, between = _opened(one, source, f"{path}.")
        nodes |= inner
        edges += between
        ends[name], starts[name] = (f"{path}.{_only(one, kind, source, path)}" for kind in ("Input", "Output"))
    edges += [(starts.get(one, prefix + one), ends.get(other, prefix + other)) for one, other in graph.edges]
    return nodes, edges


def _only(graph: Graph, kind: str, source: str, name: str = "") -> str:
    """The name of a graph's only Input or Output."""
    names = [key for key, one in graph.nodes.items() if isinstance(one, StoredNode) and one.kind == kind]
    if len(names) != 1:
        where = f"{source}: {_listed([name])}" if name else source
        named = f", {_listed(sorted(names))}" if names else ""
        raise UserError(f"{where}: has {len(names)} nodes of kind {kind}{named}, expected one")
    return names[0]


def _shape(node: StoredNode) -> tuple[int, ...]:
    values = np.asarray(node.values.get("shape", ()))
    return tuple(map(int, values)) if values.ndim == 1 and values.dtype.kind in "iu" else ()


def _listed(names: Sequence[str], by: str = ", ") -> str:
    return by.join(f"`{one_line(name)}`" for name in names)
