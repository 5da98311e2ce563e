"""Runs one layer over the whole window in NumPy, to calibrate initial weights.

Slow and simple. Uses no engine, so results don't depend on one (docs/design.md, section 2).
"""

from collections.abc import Iterator

import numpy as np

from csnn_jax.config import Layer, ModelConfig, Pooling
from csnn_jax.neurons.neuron import MEMBRANE, Neurons


class Operations:
    """NumPy's operations for a neuron's step, in float32, see `csnn_jax.neurons.neuron`."""

    def fired(self, membrane: np.ndarray, threshold: np.ndarray) -> np.ndarray:
        """Where a membrane is above the threshold."""
        return membrane > threshold

    def masked(self, fired: np.ndarray, x: np.ndarray) -> np.ndarray:
        """x where a neuron fired, otherwise 0."""
        return np.where(fired, x, np.float32(0))

    def decayed(self, factor: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The product, rounded before anything is added to it."""
        return factor * x


def current(layer: Layer, kernel: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Input current of a layer.

    Args:
        layer: one of a network's layers.
        kernel: [k, k, in, out] or [in, out].
        bias: [out], or 0 if there is none.
        x: an image, or the previous layer's spikes [time, batch, ...], numbers or booleans. If time is 1, x is the
            input of every step.

    Returns:
        [time, batch, *out_shape] float32.
    """
    frames = [_pool(frame.astype(np.float32), layer.before) for frame in x]
    if layer.kind == "linear":
        frames = [frame.reshape(len(frame), -1) @ kernel for frame in frames]
    else:
        frames = [_pool(_conv(frame, kernel, layer), layer.pool) for frame in frames]
    return np.stack(frames) + bias


def spikes(current: np.ndarray, model: ModelConfig, index: int) -> np.ndarray:
    """Spikes of layer `index` for its current [time or 1, batch, ...]: bool [time, batch, ...]."""
    neurons = model.layers[index].neurons
    kind, values = neurons.kind, {name: np.float32(value) for name, value in neurons.configured}
    steps = model.time_steps if len(current) == 1 else len(current)
    state = {name: np.zeros(current.shape[1:], np.float32) for name in kind.states}
    fired = np.zeros((steps, *current.shape[1:]), bool)
    for step in range(steps):
        state = kind.step(Operations(), values, state, current[step % len(current)], neurons.reset)
        fired[step] = state[MEMBRANE] > kind.threshold(values, state)
    return fired


def response(neurons: Neurons, steps: int = 4000) -> np.ndarray:
    """Membrane after a current of 1 for one step, without a reset [steps], float64; decays are at most 0.99.

    The limit makes sums converge: the sum is the final membrane for a constant current of 1, and the sum of squares is
    the membrane's variance for independent currents of variance 1.
    """
    decays = {name for name, parameter in neurons.kind.parameters.items() if parameter.decays}
    values = {name: min(value, 0.99) if name in decays else value for name, value in neurons.configured}
    state = {name: np.zeros(()) for name in neurons.kind.states}
    found = np.zeros(steps)
    for step in range(steps):
        state = neurons.kind.step(Operations(), values, state, float(step == 0), "none")
        found[step] = state[MEMBRANE]
    return found


def _conv(x: np.ndarray, kernel: np.ndarray, layer: Layer) -> np.ndarray:
    """Cross-correlation [batch, rows, columns, out]."""
    x = np.pad(x, ((0, 0), (layer.padding, layer.padding), (layer.padding, layer.padding), (0, 0)))
    rows, columns, channels = layer.conv_shape
    patches = np.concatenate(list(_shifted(x, layer.kernel, layer.stride, rows, columns)), -1)
    product = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(patches.shape[-1], -1)
    return product.reshape(len(x), rows, columns, channels)


def _pool(x: np.ndarray, pool: Pooling | None) -> np.ndarray:
    """Pooling; incomplete windows at the edges are dropped."""
    if pool is None:
        return x
    members = np.stack(list(_shifted(x, pool.size, pool.stride, *map(pool.positions, x.shape[1:3]))))
    if pool.kind == "max":
        return members.max(0)
    return members.mean(0) if pool.kind == "avg" else members.sum(0)


def _shifted(x: np.ndarray, window: int, stride: int, rows: int, columns: int) -> Iterator[np.ndarray]:
    """For each element of a window, its values at all positions: [batch, rows, columns, channels]."""
    high, wide = stride * (rows - 1) + 1, stride * (columns - 1) + 1
    for row, column in np.ndindex(window, window):
        yield x[:, row : row + high : stride, column : column + wide : stride]
