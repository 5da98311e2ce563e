"""What is compared: spikes, or the membranes of neurons whose spikes one side doesn't show."""

import numpy as np

from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.window import Trace


def comparable(one: Trace, other: Trace, alike: bool) -> tuple[Trace, Trace]:
    """What can be compared of two traces: the spikes of a node, or its membranes, or nothing.

    Args:
        one: a trace with the membranes of all nodes.
        other: another, with the same nodes.
        alike: whether their membranes are read at the same moment of a step.
    """
    spikes = one.spikes.keys() & other.spikes.keys()

    def of(trace: Trace) -> Trace:
        states = {node: {MEMBRANE: m} if alike and node not in spikes else {} for node, m in trace.membranes.items()}
        return Trace(states, {node: trace.spikes[node] for node in states if node in spikes})

    return of(one), of(other)


def signals(trace: Trace, like: Trace) -> dict[str, np.ndarray]:
    """The arrays [time, batch, *shape] of a trace that a `comparable` one has, by node."""
    shown = [node for node, state in like.states.items() if state or node in like.spikes]
    return {node: (trace.spikes if node in like.spikes else trace.membranes)[node] for node in shown}
