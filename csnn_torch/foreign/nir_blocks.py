"""The blocks in a chain of NIR nodes: weights, pool and neurons, with every Scale folded into the weights.

Shapes are derived from the input's, because some programs write wrong ones for Conv2d and Flatten.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from csnn_jax.errors import UserError, one_line
from csnn_jax.options import show
from csnn_torch.foreign.network import channels
from csnn_torch.foreign.nir_file import Chain, Node

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


def padding(node: Node, kernel: int) -> Literal["same", "valid"]:
    """The padding of a convolution: half a kernel ("same"), or none ("valid")."""
    stored = node["padding"]
    if isinstance(stored, str):
        if stored == "valid":
            return "valid"
        if stored == "same" and kernel % 2 and whole(node, "stride") == 1:
            return "same"
        raise node.error(f"padding is {one_line(stored)}, expected valid, or same with an odd kernel and stride 1")
    zeros = whole(node, "padding")
    if kernel % 2 and zeros == kernel // 2:
        return "same"
    if zeros:
        half = f"{kernel // 2}, half a kernel, or 0" if kernel % 2 else "0, because the kernel is even"
        raise node.error(f"padding is {zeros}, expected {half}")
    return "valid"


_POOLS: dict[str, Literal["avg", "sum"]] = {"AvgPool2d": "avg", "SumPool2d": "sum"}
_NEURONS = ("IF", "LIF", "CubaLIF", "LI")
_KNOWN = f"Conv2d, Linear, Affine, {', '.join(_POOLS)}, Flatten, Scale, {', '.join(_NEURONS)}"


@dataclass
class Block:
    """A convolution or linear layer up to the next one.

    Attributes:
        node: the layer.
        weight: in torch's layout, float64.
        bias: [out], float64.
        shape: shape of its neurons, (channels, height, width) or (features,).
        stride, padding: of a convolution.
        pool, window: kind of the pool, and height and width of its window.
        pooling: the pool's node.
        pool_after: whether the pool follows the neurons.
        neuron: the node of its neurons; None: the last layer has none.
    """

    node: Node
    weight: np.ndarray
    bias: np.ndarray
    shape: Shape
    stride: int = 1
    padding: Literal["same", "valid"] = "same"
    pool: Literal["avg", "sum", "none"] = "none"
    window: int = 2
    pooling: Node | None = None
    pool_after: bool = False
    neuron: Node | None = None

    @property
    def is_conv(self) -> bool:
        return self.weight.ndim == 4

    def scale(self, gain: np.ndarray, offset: np.ndarray | float = 0.0) -> None:
        """Changes the current of its neurons to gain * current + offset, each one number or one per channel."""
        summed = self.window**2 if self.pool == "sum" and not self.pool_after else 1  # a sum adds this many biases
        self.weight = self.weight * np.reshape(gain, (-1, *[1] * (self.weight.ndim - 1)))
        self.bias = self.bias * gain + np.asarray(offset) / summed


class _Reader:
    """Goes through the nodes of a chain, and keeps track of what it has found.

    Attributes:
        blocks: the blocks so far.
        shape: shape of the next node's input.
        factor: factor that the next layer's weights must still be multiplied by, [*shape].
    """

    def __init__(self, shape: Shape):
        self.blocks: list[Block] = []
        self.shape = shape
        self.factor = np.ones(shape)

    @property
    def waiting(self) -> bool:
        """Whether a layer has no neurons yet."""
        return bool(self.blocks) and self.blocks[-1].neuron is None

    def conv(self, node: Node) -> None:
        weight = self._weight(node, 4)
        out, inputs, kernel, width = weight.shape
        if kernel != width:
            raise node.error(f"weight has shape {list(weight.shape)}, expected a square kernel")
        if len(self.shape) != 3 or self.shape[0] != inputs:
            raise node.error(f"weight has shape {list(weight.shape)}, but its input is {_by(self.shape)}")
        for name in ("groups", "dilation"):
            if whole(node, name) != 1:
                raise node.error(f"{name} is {whole(node, name)}, expected 1")
        stride, around = whole(node, "stride"), padding(node, kernel)
        if stride < 1:
            raise node.error(f"stride is {stride}, expected at least 1")
        zeros = kernel // 2 if around == "same" else 0
        shape = (out, *((length + 2 * zeros - kernel) // stride + 1 for length in self.shape[1:]))
        factor = per_channel(node, "the Scale before it", self.factor, self.shape)
        weight = weight * factor.reshape(-1, 1, 1)
        self._begin(Block(node, weight, self._bias(node, out), shape, stride, around))

    def linear(self, node: Node) -> None:
        weight = self._weight(node, 2)
        if len(self.shape) != 1:
            raise node.error(f"gets {_by(self.shape)}, expected a Flatten before it")
        if weight.shape[1:] != self.shape:
            raise node.error(f"weight has shape {list(weight.shape)}, but its input has {self.shape[0]} values")
        self._begin(Block(node, weight * self.factor, self._bias(node, len(weight)), weight.shape[:1]))

    def _weight(self, node: Node, axes: int) -> np.ndarray:
        if self.waiting:
            raise node.error(f"{node.kind} follows `{self.blocks[-1].node.name}`, expected neurons between them")
        weight = node.numbers("weight").astype(np.float64)
        if weight.ndim != axes:
            raise node.error(f"weight has shape {list(weight.shape)}, expected {axes} axes")
        return weight

    def _bias(self, node: Node, out: int) -> np.ndarray:
        bias = node.numbers("bias").astype(np.float64) if "bias" in node.values else np.zeros(out)
        if bias.shape != (out,):
            raise node.error(f"bias has shape {list(bias.shape)}, expected [{out}]")
        return bias

    def _begin(self, block: Block) -> None:
        if min(block.shape) < 1:
            raise block.node.error(f"its input is {_by(self.shape)}, which leaves no output; expected larger images")
        self.blocks.append(block)
        self._becomes(block.shape)

    def _becomes(self, shape: Shape) -> None:
        self.shape, self.factor = shape, np.ones(shape)

    def pool(self, node: Node) -> None:
        if not self.blocks or not self.blocks[-1].is_conv or len(self.shape) != 3:
            raise node.error(f"{node.kind} follows no convolution, expected one before it")
        block = self.blocks[-1]
        if block.pooling:
            raise node.error(f"{node.kind} is the second pool after `{block.node.name}`, expected one")
        size, stride, zeros = (whole(node, name) for name in ("kernel_size", "stride", "padding"))
        if size < 2 or size & (size - 1):
            raise node.error(f"kernel_size is {size}, expected a power of two, which keeps the average exact")
        if (stride, zeros) != (size, 0):
            raise node.error(f"stride is {stride} and padding {zeros}, expected stride {size} and padding 0")
        left = per_channel(node, "the Scale before it", self.factor, self.shape)
        channels, *sizes = self.shape
        self._becomes((channels, *(length // size for length in sizes)))
        if not min(self.shape):
            raise node.error(f"its input has {_by(sizes)} pixels, fewer than a window of {size}x{size}")
        self.factor = self.factor * left.reshape(-1, 1, 1)
        block.pool, block.window, block.pooling, block.pool_after = _POOLS[node.kind], size, node, not self.waiting
        if self.waiting:
            block.shape = self.shape

    def flatten(self, node: Node) -> None:
        start, end = whole(node, "start_dim"), whole(node, "end_dim")
        axes = len(self.shape)
        if start not in (0, 1, -axes) or end not in (-1, axes - 1, axes):  # 1, 3: with a batch axis in front
            raise node.error(f"start_dim is {start} and end_dim {end}, expected all axes of {_by(self.shape)}")
        self.shape, self.factor = (math.prod(self.shape),), self.factor.ravel()

    def scale(self, node: Node) -> None:
        factors = broadcast(node, "scale", self.shape)
        if self.waiting:
            self.blocks[-1].scale(per_channel(node, "scale", factors, self.blocks[-1].shape))
        else:
            self.factor = self.factor * factors

    def neurons(self, node: Node) -> None:
        if not self.waiting:
            raise node.error(f"{node.kind} follows no layer, expected a Conv2d, Linear or Affine before it")
        self.blocks[-1].neuron = node


_STEPS: dict[str, Any] = {
    "Conv2d": _Reader.conv,
    "Linear": _Reader.linear,
    "Affine": _Reader.linear,
    **dict.fromkeys(_POOLS, _Reader.pool),
    "Flatten": _Reader.flatten,
    "Scale": _Reader.scale,
    **dict.fromkeys(_NEURONS, _Reader.neurons),
}


def blocks(chain: Chain, shape: Shape, source: str) -> list[Block]:
    """The blocks of a network.

    Args:
        chain: its nodes.
        shape: shape of its input, (channels, height, width), or (features,).
        source: the file, for messages.

    Raises:
        UserError: csnn_jax doesn't support a node there; the message names it.
    """
    for node in chain.nodes:
        if node.kind not in _STEPS:
            raise node.error(f"{one_line(node.kind)} isn't supported, expected {_KNOWN}")
    reader = _Reader(shape)
    for node in chain.nodes:
        _STEPS[node.kind](reader, node)
    if not reader.blocks:
        raise UserError(f"{source}: has no Conv2d, Linear or Affine, expected a network")
    last, end = reader.blocks[-1], chain.nodes[-1]
    if last.is_conv:
        raise last.node.error("is the last layer, expected a Linear or Affine after the convolutions")
    if last.neuron and end.number > last.neuron.number:
        raise end.error(f"{end.kind} is the last node, expected the neurons of the last layer")
    for block in reader.blocks[:-1]:
        if block.neuron and block.neuron.kind == "LI":
            raise block.neuron.error("LI doesn't spike, expected it only after the last layer")
    return reader.blocks


def geometry(blocks: Sequence[Block]) -> dict[str, Any]:
    """The fields of ModelConfig that follow from the blocks, with convolutions first.

    Raises:
        UserError: there are pools before neurons and pools after neurons.
    """
    convs = [block for block in blocks if block.is_conv]
    pooled = [(block.pool_after, block.pooling) for block in convs if block.pooling]
    for after, node in pooled:
        if after != pooled[0][0]:
            one, other = ("after its neurons", "before") if after else ("before its neurons", "after")
            raise node.error(f"pools {one}, but `{pooled[0][1].name}` pools {other} them, expected the same order")
    stated = channels([block.weight.shape for block in blocks])
    if not convs:
        return stated
    stated |= {
        "stride": tuple(block.stride for block in convs),
        "padding": tuple(block.padding for block in convs),
        "pool": tuple(block.pool for block in convs),
        "pool_after": bool(pooled) and pooled[0][0],
    }
    if any(block.window != 2 for block in convs):
        stated["pool_size"] = tuple(block.window for block in convs)
    return stated


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
