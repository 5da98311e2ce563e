"""Splits a graph into parts that can go through the window one after the other."""

from collections.abc import Iterable
from functools import lru_cache
from graphlib import TopologicalSorter
from typing import NamedTuple

from csnn_jax.config.graph import IMAGE, Edge, Graph, WeightedNode


class Segment(NamedTuple):
    """A part of a graph that goes through the whole window before the next one.

    Attributes:
        window: the nodes that are computed for all steps at once, in this order, from the outputs of parts before.
            Pools may be in several parts.
        steps: the nodes that go step by step. They read delayed outputs of other nodes under names such as `lif1@2`.
        entering: what these read from other nodes, by the name under which they do.
    """

    window: Graph
    steps: Graph
    entering: dict[str, Edge]


@lru_cache(256)
def segments(whole: Graph) -> tuple[Segment, ...]:
    """The first part goes step by step.

    Each of the others has neurons whose currents come from linear layers outside their own cycle: these are computed
    for all steps at once, because their inputs are the spikes of parts before.
    """
    undivided = (Segment(Graph({}), whole, {IMAGE: Edge(IMAGE)}),)
    loops = whole.loops
    if any(edge.delay and loops[edge.source] != loops[node.name] for node in whole for edge in node.inputs):
        return undivided
    parts: list[tuple[set[str], set[str]]] = []
    for loop in dict.fromkeys(loops[node.name] for node in whole.neurons):
        members = {node.name for node in whole if loops[node.name] == loop}
        paths = (whole.path(node) for node in whole if node.name in members)
        before = {node.name: node for path in paths for node in path if node.name not in members}
        weighted = [node for node in before.values() if isinstance(node, WeightedNode)]
        held = any(edge.source in (IMAGE, *whole.constant) for node in before.values() for edge in node.inputs)
        if parts and not held and not any(node.is_convolution for node in weighted):
            parts.append((set(before), members))
        elif len(parts) > 1:
            return undivided
        else:
            parts = [(set(), set().union(*(steps for _, steps in parts), before, members))]

    order = [node.name for node in whole]
    return tuple(_segment(whole, filter(window.__contains__, order), steps) for window, steps in parts)


@lru_cache(256)
def layers(whole: Graph) -> tuple[Segment, ...]:
    """Only neurons go step by step, and the nodes in a cycle with them; all others are computed at once."""
    loops, members = whole.loops, dict[int, list[str]]()
    for node in whole:
        members.setdefault(loops[node.name], []).append(node.name)
    before = {
        number: {loops[edge.source] for name in names for edge in whole[name].inputs} - {number}
        for number, names in members.items()
    }
    parts, window = list[Segment](), list[str]()
    for number in TopologicalSorter(before).static_order():
        names = members.get(number, [])
        if any(node.name in names for node in whole.neurons):
            parts.append(_segment(whole, window, set(names)))
            window = []
        else:
            window += names
    return tuple(parts)


def _segment(whole: Graph, window: Iterable[str], steps: set[str]) -> Segment:
    part = Graph({node.name: node for node in whole if node.name in steps}, whole.groups)
    edges = [edge for node in part for edge in node.inputs if edge.source not in steps]
    return Segment(
        Graph({name: whole[name] for name in window}, whole.groups),
        part.delayed({edge: Edge(str(edge)) for edge in edges}),
        {str(edge): edge for edge in edges},
    )
