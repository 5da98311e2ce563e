"""Runs one layer over the whole window in NumPy, to calibrate initial weights.

Slow and simple. Uses no engine, so results don't depend on one (docs/design.md, section 2).
"""

import numpy as np

from csnn_jax.config import ModelConfig, Pooling
from csnn_jax.config.graph import Graph, NeuronNode
from csnn_jax.config.operations import Convolution
from csnn_jax.neurons.neuron import MEMBRANE, Neurons, Values
from csnn_jax.window import Library


class NumPy(Library):
    """NumPy's operations in float32, channels last. Spikes are booleans."""

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

    def decayed(self, factor: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The product, rounded before anything is added to it."""
        return factor * x


def current(graph: Graph, neurons: NeuronNode, weights: Values, x: np.ndarray) -> np.ndarray:
    """Input current of neurons.

    Args:
        graph: the network.
        neurons: a node of neurons.
        weights: the `weight` and `bias` of the convolution or linear layer before them.
        x: the image, or the spikes of the neurons before [time, batch, ...], numbers or booleans. If time is 1, x is
            the input of every step.

    Returns:
        [time, batch, ...] float32.
    """
    frames = list(x.astype(np.float32))
    for node in graph.path(neurons):
        frames = [NumPy().evaluate(node, weights, frame) for frame in frames]
    return np.stack(frames)


def spikes(current: np.ndarray, model: ModelConfig, neurons: NeuronNode) -> np.ndarray:
    """Spikes of neurons for their current [time or 1, batch, ...]: bool [time, batch, ...]."""
    values = {name: np.float32(value) for name, value in neurons.operation.configured}
    steps = model.time_steps if len(current) == 1 else len(current)
    state = {name: np.zeros(current.shape[1:], np.float32) for name in neurons.operation.kind.states}
    fired = np.zeros((steps, *current.shape[1:]), bool)
    for step in range(steps):
        state, fired[step] = NumPy().fire(neurons, values, state, (current[step % len(current)],))
    return fired


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
