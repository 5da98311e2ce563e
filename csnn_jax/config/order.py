"""The order of a graph's nodes, and what its edges connect."""

import heapq
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TypeAlias

Edges: TypeAlias = Sequence[tuple[str, str]]
"""(the node that is read, its reader)."""


def in_order(
    nodes: Iterable[str],
    edges: Edges,
    closing: Container[tuple[str, str]] = (),
    starts: Mapping[str, bool] | None = None,
) -> list[str]:
    """The nodes with each after those that it reads, except through closing edges; otherwise in the given order.

    Nodes in cycles without a closing edge, and those after them, are left out.

    Args:
        nodes: the names of the nodes.
        edges: between them.
        closing: the edges that close cycles.
        starts: nodes that may come after only some of what they read, if a cycle is left; first those with False.
    """
    names = list(nodes)
    place = {name: number for number, name in enumerate(names)}
    before, after = neighbors(names, [edge for edge in edges if edge not in closing])
    waiting = {name: len(inputs) for name, inputs in before.items()}
    ready, entered = [(False, place[name]) for name, count in waiting.items() if not count], list[tuple[bool, int]]()
    order = dict[str, None]()
    while ready or entered:
        name = names[heapq.heappop(ready or entered)[1]]
        if name in order:
            continue
        order[name] = None
        for reader in after[name]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, (False, place[reader]))
            elif starts and reader in starts:
                heapq.heappush(entered, (starts[reader], place[reader]))
    return [*order]


def components(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """A number for each node, equal for nodes in the same cycles."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    starts, ends = zip(*edges, strict=True) if edges else ((), ())
    matrix = csr_array(([1] * len(edges), (starts, ends)), shape=(count, count))
    return connected_components(matrix, connection="strong")[1].tolist()


def neighbors(nodes: Iterable[str], edges: Edges) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The nodes that each reads, and those that read it; several times if several edges connect them."""
    before: dict[str, list[str]] = {name: [] for name in nodes}
    after: dict[str, list[str]] = {name: [] for name in before}
    for start, end in edges:
        after[start].append(end)
        before[end].append(start)
    return before, after


def reached(start: str, after: Mapping[str, Sequence[str]]) -> set[str]:
    """The nodes that ways from a node lead to, and itself.

    Args:
        start: the node.
        after: what each node is read by, or what it reads, see `neighbors`.
    """
    names, left = {start}, [start]
    while left:
        left += (new := set(after[left.pop()]) - names)
        names |= new
    return names
