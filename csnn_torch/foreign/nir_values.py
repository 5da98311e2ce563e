"""Checked parameters of a node in a NIR file."""

import math

import numpy as np

from csnn_jax.errors import one_line
from csnn_jax.options import show
from csnn_torch.foreign.nir_file import Node

Shape = tuple[int, ...]


def broadcast(node: Node, parameter: str, shape: Shape) -> np.ndarray:
    """A parameter's value for each neuron, [*shape]; a batch axis of 1 in front is removed.

    Raises:
        UserError: it has another shape.
    """
    values = node.numbers(parameter)
    if values.ndim and (values == values.flat[0]).all():
        values = values.flat[0]
    while np.ndim(values) > len(shape) and len(values) == 1:
        values = values[0]
    if np.shape(values) == (math.prod(shape),):  # flattened
        return np.reshape(values, shape)
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        actual = list(np.shape(values))
        raise node.error(f"{parameter} has shape {actual}, expected one value, or {list(shape)}") from None


def per_channel(node: Node, what: str, values: np.ndarray, shape: Shape) -> np.ndarray:
    """Values that are equal within each channel, as [channels].

    Args:
        node: their node, for messages.
        what: their name, for messages.
        values: one for each element of `shape`.
        shape: (channels, height, width) or (features,).

    Raises:
        UserError: they differ within a channel; the message names it.
    """
    rows = np.reshape(values, (shape[0], -1))
    differ = (rows != rows[:, :1]).any(1)
    if differ.any():
        channel = int(np.argmax(differ))
        low, high = rows[channel].min(), rows[channel].max()
        raise node.error(f"{what} goes from {low:.9g} to {high:.9g} within channel {channel}, expected one value")
    return rows[:, 0]


def whole(node: Node, name: str) -> int:
    """An integer that's the same for height and width."""
    values = node.numbers(name)
    if values.dtype.kind == "f" or (values != values.flat[0]).any():
        raise node.error(
            f"{name} is {show(tuple(values.flat))}, expected a whole number, the same for height and width"
        )
    return int(values.flat[0])


def padding(node: Node, kernel: int) -> int:
    """The zeros on every side of a convolution's input."""
    stored = node["padding"]
    if isinstance(stored, str):
        if stored == "valid":
            return 0
        if stored == "same" and kernel % 2 and whole(node, "stride") == 1:
            return kernel // 2
        raise node.error(f"padding is {one_line(stored)}, expected valid, or same with an odd kernel and stride 1")
    if (zeros := whole(node, "padding")) < 0:
        raise node.error(f"padding is {zeros}, expected at least 0")
    return zeros
