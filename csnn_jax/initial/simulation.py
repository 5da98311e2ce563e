"""Runs a network, or one of its layers, over the whole window in NumPy, to calibrate initial weights.

Slow and simple. Uses no engine, so results don't depend on one (docs/design.md, section 2).
"""

from collections.abc import Mapping

import numpy as np

from csnn_jax import window
from csnn_jax.config import Pooling
from csnn_jax.config.graph import Graph, NeuronNode, Node
from csnn_jax.config.operations import Convolution
from csnn_jax.neurons.neuron import MEMBRANE, Neurons, State, Values
from csnn_jax.runs.normalization import Statistics
from csnn_jax.window import Library, Parameters


class NumPy(Library):
    """NumPy's operations in float32, channels last."""

    def convolution(self, operation: Convolution, parameters: Values, x: np.ndarray) -> np.ndarray:
        """Cross-correlation with weights [k, k, in, out]."""
        zeros = (operation.padding, operation.padding)
        patches = _windows(np.pad(x, ((0, 0), zeros, zeros, (0, 0))), operation.kernel, operation.stride)
        columns = patches.transpose(0, 1, 2, 4, 5, 3).reshape(*patches.shape[:3], -1)
        return columns @ parameters["weight"].reshape(columns.shape[-1], -1) + parameters["bias"]

    def linear(self, parameters: Values, x: np.ndarray) -> np.ndarray:
        """A product with weights [in, out]."""
        return x @ parameters["weight"] + parameters["bias"]

    def pool(self, operation: Pooling, parameters: Values, x: np.ndarray) -> np.ndarray:
        """Pooling; incomplete windows at the edges are dropped."""
        windows = _windows(x, operation.size, operation.stride)
        if operation.kind == "max":
            return windows.max((-2, -1))
        return windows.sum((-2, -1)) * np.float32(operation.step)

    def flatten(self, x: np.ndarray) -> np.ndarray:
        """Features in H, W, C order."""
        return x.reshape(len(x), -1)

    def fired(self, membrane: np.ndarray, threshold: np.ndarray) -> np.ndarray:
        """Where a membrane is above the threshold."""
        return membrane > threshold

    def masked(self, fired: np.ndarray, x: np.ndarray) -> np.ndarray:
        """x where a neuron fired, otherwise 0."""
        return np.where(fired, x, np.float32(0))

    def spikes(self, node: Node, parameters: Values, state: State) -> np.ndarray:
        """Spikes as numbers."""
        return super().spikes(node, parameters, state).astype(np.float32)

    def decayed(self, factor: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The product, rounded before anything is added to it."""
        return factor * x


def current(graph: Graph, source: Node, parameters: Parameters, entering: np.ndarray) -> np.ndarray:
    """The output of a node without state, which is a current of neurons.

    Args:
        graph: the network.
        source: the node.
        parameters: of the nodes.
        entering: the image, or the spikes of the neurons before the node [time, batch, ...], numbers or booleans. If
            time is 1, it's the input of every step.

    Returns:
        [time, batch, ...] float32.
    """
    frames = list(entering.astype(np.float32))
    for node in (*graph.path(source), source):
        frames = [NumPy().evaluate(node, parameters.get(node.name, {}), frame) for frame in frames]
    return np.stack(frames)


def spikes(
    graph: Graph, neurons: NeuronNode, parameters: Parameters, currents: Mapping[str, np.ndarray], steps: int
) -> np.ndarray:
    """Spikes of neurons, which may read their own of the step before: bool [time, batch, ...].

    Args:
        graph: the network.
        neurons: a node of neurons.
        parameters: of the nodes.
        currents: the neurons' other inputs by node [time or 1, batch, ...].
        steps: the number of time steps.
    """
    back = [node for node in graph.path(neurons) if graph.origin(node) is neurons]
    part = Graph({node.name: node for node in (*back, neurons)})
    shape = next(iter(currents.values())).shape[1:]
    carry, fired = window.start(part, lambda node: np.zeros(shape, np.float32)), np.zeros((steps, *shape), bool)
    for number in range(steps):
        known = {name: values[number % len(values)] for name, values in currents.items()}
        carry, after = window.step(part, NumPy(), parameters, carry, known)
        fired[number] = after.values[neurons.name]
    return fired


def densities(graph: Graph, parameters: Parameters, x: np.ndarray, steps: int) -> list[float]:
    """The fraction of neurons that spike at a step, by layer, for an input [time or 1, batch, H, W, C]."""
    carry = window.start(graph, lambda node: np.zeros((x.shape[1], *node.shape), np.float32))
    fired = np.zeros(len(graph.neurons))
    for after in window.window(graph, NumPy(), parameters, carry, x[0] if len(x) == 1 else x, steps):
        fired += [np.count_nonzero(after.values[node.name]) for node in graph.neurons]
    return [float(count / (steps * x.shape[1] * node.size)) for count, node in zip(fired, graph.neurons, strict=True)]


def statistics(graph: Graph, parameters: Parameters, x: np.ndarray, steps: int) -> dict[str, Statistics]:
    """Mean and variance of each convolution's output over batch, positions and steps, float64, for x as above."""
    sums = {node.name: np.zeros((2, node.channels)) for node in graph.weighted if node.is_convolution}
    carry, count = window.start(graph, lambda node: np.zeros((x.shape[1], *node.shape), np.float32)), steps * x.shape[1]
    for after in window.window(graph, NumPy(), parameters, carry, x[0] if len(x) == 1 else x, steps):
        for name, both in sums.items():
            y = after.values[name].astype(np.float64)
            both += y.mean((1, 2)).sum(0), (y * y).mean((1, 2)).sum(0)
    return {
        name: Statistics(mean / count, np.maximum(0, square / count - (mean / count) ** 2))
        for name, (mean, square) in sums.items()
    }


def response(neurons: Neurons, steps: int = 4000) -> np.ndarray:
    """Membrane after a current of 1 for one step, without a reset [steps], float64; decays are at most 0.99.

    The limit makes sums converge: the sum is the final membrane for a constant current of 1, and the sum of squares is
    the membrane's variance for independent currents of variance 1.
    """
    decays = {name for name, parameter in neurons.kind.parameters.items() if parameter.decays}
    values = {name: min(value, 0.99) if name in decays else value for name, value in neurons.configured}
    state = {name: np.zeros(()) for name in neurons.kind.states}
    membranes = np.zeros(steps)
    for step in range(steps):
        state = neurons.kind.step(NumPy(), values, state, (float(step == 0),), "none")
        membranes[step] = state[MEMBRANE]
    return membranes


def _windows(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """All windows of images: [batch, rows, columns, channels, size, size]."""
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]
