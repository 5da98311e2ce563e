"""The nodes of a NIR graph in execution order, for networks where each node feeds the next one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.errors import UserError, one_line
from csnn_torch.foreign.nir_file import Graph, StoredNode


@dataclass(frozen=True, eq=False)
class Node:
    """A node in the chain.

    Attributes:
        source: the file, for messages.
        number: its position in the chain, from 1, without the input.
        name: its name, or `GRAPH.NODE` for a node of an inner graph.
        kind: `Conv2d`, `LIF`, ...
        values: its parameters, arrays or text.
    """

    source: str
    number: int
    name: str
    kind: str
    values: dict[str, Any]

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


class Chain(NamedTuple):
    """The nodes between input and output.

    Attributes:
        shape: shape of the input in the file; empty if it has none.
        nodes: in order.
    """

    shape: tuple[int, ...]
    nodes: tuple[Node, ...]


def chain(graph: Graph, source: str) -> Chain:
    """The nodes of a graph in order. Inner graphs are replaced by their nodes.

    Raises:
        UserError: the graph isn't a chain: it has a cycle, branches, several inputs or outputs, or loose ends.
    """
    nodes, edges = _opened(graph, source)
    before: dict[str, list[str]] = {name: [] for name in nodes}
    after: dict[str, list[str]] = {name: [] for name in nodes}
    for start, end in dict.fromkeys(edges):
        for name in (start, end):
            if name not in nodes:
                raise UserError(
                    f"{source}: has an edge from {_listed([start])} to {_listed([end])}, but no node {_listed([name])}"
                )
        after[start].append(end)
        before[end].append(start)
    if cycle := _cycle(before, after):
        raise UserError(f"{source}: has the cycle {_listed(cycle, ' -> ')}, expected a network without recurrence")
    first, last = (_only(graph, kind, source) for kind in ("Input", "Output"))
    for name in nodes:
        for others, verb in ((after[name], "feeds"), (before[name], "is fed by")):
            if len(others) > 1:
                raise UserError(
                    f"{source}: {_listed([name])} {verb} {_listed(sorted(others))}, expected a chain of nodes"
                )
    order = [first]
    while after[order[-1]]:
        order += after[order[-1]]
    if order[-1] != last:
        raise UserError(
            f"{source}: {_listed(order[-1:])} feeds nothing, expected a chain that ends at {_listed([last])}"
        )
    if loose := sorted(nodes.keys() - set(order)):
        raise UserError(f"{source}: {_listed(loose)} isn't in the chain from Input to Output, expected all nodes in it")
    inner = [(name, nodes[name]) for name in order if nodes[name].kind not in ("Input", "Output")]
    found = (Node(source, number, name, *one) for number, (name, one) in enumerate(inner, 1))
    return Chain(_shape(nodes[first]), tuple(found))


def _opened(graph: Graph, source: str, prefix: str = "") -> tuple[dict[str, StoredNode], list[tuple[str, str]]]:
    """All nodes by name, with a prefix for inner graphs, and all edges; those to an inner graph enter at its Input.

    Inputs and Outputs of inner graphs are kept, as nodes that change nothing.
    """
    nodes: dict[str, StoredNode] = {}
    edges: list[tuple[str, str]] = []
    starts: dict[str, str] = {}
    ends: dict[str, str] = {}
    for name, one in graph.nodes.items():
        own = prefix + name
        if isinstance(one, StoredNode):
            nodes[own] = one
            starts[name] = ends[name] = own
            continue
        inner, between = _opened(one, source, f"{own}.")
        nodes |= inner
        edges += between
        ends[name], starts[name] = (f"{own}.{_only(one, kind, source, own)}" for kind in ("Input", "Output"))
    edges += [(starts.get(one, prefix + one), ends.get(other, prefix + other)) for one, other in graph.edges]
    return nodes, edges


def _only(graph: Graph, kind: str, source: str, name: str = "") -> str:
    """The name of a graph's only Input or Output."""
    found = [key for key, one in graph.nodes.items() if isinstance(one, StoredNode) and one.kind == kind]
    if len(found) != 1:
        where = f"{source}: {_listed([name])}" if name else source
        named = f", {_listed(sorted(found))}" if found else ""
        raise UserError(f"{where}: has {len(found)} nodes of kind {kind}{named}, expected one")
    return found[0]


def _cycle(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """The names along a cycle, with the first one repeated at the end; empty if there's no cycle."""
    left = {name: len(others) for name, others in before.items()}
    free = [name for name, count in left.items() if not count]
    while free:
        name = free.pop()
        del left[name]
        for other in after[name]:
            left[other] -= 1
            if not left[other]:
                free.append(other)
    if not left:
        return []
    path, name = [], min(left)
    while name not in path:  # every remaining node follows another one
        path.append(name)
        name = next(other for other in before[name] if other in left)
    return [*path[path.index(name) :], name][::-1]


def _shape(node: StoredNode) -> tuple[int, ...]:
    values = np.asarray(node.values.get("shape", ()))
    return tuple(map(int, values)) if values.ndim == 1 and values.dtype.kind in "iu" else ()


def _listed(names: Sequence[str], by: str = ", ") -> str:
    return by.join(f"`{one_line(name)}`" for name in names)
