"""Splits a graph into parts that can go through the window one after the other."""

from functools import lru_cache
from typing import NamedTuple

from csnn_jax.config.graph import IMAGE, Graph, WeightedNode


class Segment(NamedTuple):
    """A part of a graph that goes through the whole window before the next one.

    Attributes:
        window: the nodes that are computed for all steps at once, from the spikes of parts before. Pools may be in
            several parts.
        steps: the nodes that go step by step.
    """

    window: Graph
    steps: Graph


@lru_cache(256)
def segments(whole: Graph) -> tuple[Segment, ...]:
    """The first part goes step by step.

    Each of the others has neurons whose currents come from linear layers outside their own cycle: these are computed
    for all steps at once, because their inputs are the spikes of parts before.
    """
    undivided = (Segment(Graph({}), whole),)
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

    def part(names: set[str]) -> Graph:
        return Graph({name: node for name, node in whole.nodes.items() if name in names}, whole.groups)

    return tuple(Segment(part(window), part(steps)) for window, steps in parts)
