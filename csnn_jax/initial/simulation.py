"""Runs a network, or one of its layers, over the whole window in NumPy, to calibrate initial weights.

Slow and simple. Uses no engine, so results don't depend on one (docs/design.md, section 2).
"""

import functools
from collections.abc import Collection, Mapping

import numpy as np

from csnn_jax import window
from csnn_jax.config import Pooling
from csnn_jax.config.graph import IMAGE, Edge, Graph, NeuronNode, Node
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


class Layer:
    """Neurons with the nodes without state before them, in a window in which the spikes of others are known.

    Args:
        graph: the network.
        neurons: a node of neurons.
        parameters: of the nodes.
        fired: the image [time or 1, batch, H, W, C] and the known spikes of neurons; others are silent.
        steps: the number of time steps.

    Attributes:
        entering: the inputs that don't depend on the neurons' own spikes [time or 1, batch, ...].
    """

    def __init__(
        self, graph: Graph, neurons: NeuronNode, parameters: Parameters, fired: Mapping[str, np.ndarray], steps: int
    ):
        live = (one for one in graph.path(neurons) if any(edge.source == neurons.name for edge in graph.reads(one)))
        nodes = {node.name: node for node in (*live, neurons)}
        edges = [edge for node in nodes.values() for edge in node.inputs if edge.source not in nodes]

        @functools.cache
        def output(name: str) -> np.ndarray:
            node = graph[name]
            if name in fired or isinstance(node, NeuronNode):
                return fired.get(name, np.zeros((1, fired[IMAGE].shape[1], *node.shape), bool)).astype(np.float32)
            frames = functools.reduce(np.add, map(arriving, node.inputs))
            return np.stack([NumPy().evaluate(node, parameters.get(name, {}), frame) for frame in frames])

        def arriving(edge: Edge) -> np.ndarray:
            values = output(edge.source)
            every = np.broadcast_to(values, (steps, *values.shape[1:]))
            return (
                np.concatenate([np.zeros_like(every[: edge.delay]), every[: steps - edge.delay]])
                if edge.delay
                else values
            )

        self.neurons, self.parameters, self.steps = neurons, parameters, steps
        self.entering = {edge: arriving(edge) for edge in dict.fromkeys(edges)}
        names = {
            edge: edge if edge.source in nodes else Edge(str(edge)) for node in nodes.values() for edge in node.inputs
        }
        self.part = Graph(nodes).delayed(names)

    def spikes(self, gain: float, nodes: Collection[str], edges: Collection[Edge]) -> np.ndarray:
        """The neurons' spikes, with some nodes' weights and some inputs times `gain`: bool [time, batch, ...]."""
        factor, scaled = np.float32(gain), dict(self.parameters)
        for name in nodes:
            scaled[name] = {kind: values * factor for kind, values in scaled[name].items()}
        known = {str(edge): values * factor if edge in edges else values for edge, values in self.entering.items()}
        batch = next(iter(known.values())).shape[1]
        carry, fired = window.start(self.part, lambda node: np.zeros((batch, *node.shape), np.float32)), []
        for number in range(self.steps):
            now = {name: values[number % len(values)] for name, values in known.items()}
            carry, after = window.step(self.part, NumPy(), scaled, carry, now)
            fired.append(after.values[self.neurons.name] > 0)
        return np.stack(fired)


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
