"""What the nodes of a NIR file are here: layers with weights, pools and neurons, with every Scale folded into weights.

Shapes are derived from the input's, because some programs write wrong ones for Conv2d and Flatten. They're channels
first: (channels, height, width) or (features,).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from csnn_jax.config.graph import IMAGE
from csnn_jax.config.operations import Convolution, Flatten, Linear, OneToOne, Operation, Pooling, Weighted
from csnn_jax.errors import UserError, one_line
from csnn_jax.options import show
from csnn_torch.foreign.nir_file import Network, Node

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


_POOLS: dict[str, Literal["avg", "sum"]] = {"AvgPool2d": "avg", "SumPool2d": "sum"}
_NEURONS = ("IF", "LIF", "CubaLIF", "LI")
_KNOWN = f"Conv2d, Linear, Affine, {', '.join(_POOLS)}, Flatten, Scale, {', '.join(_NEURONS)}"


@dataclass
class Part:
    """A node of our network.

    Attributes:
        name: its name.
        operation: what it computes; None: neurons, or the image.
        shape: shape of its output.
        reads: the names of the parts that it reads.
        node: the file's node; None: neurons that the file lacks after its last layer.
        weight: in torch's layout, float64; of layers.
        bias: [out], float64; of layers.
        delayed: whether what it reads comes from the step before.
        gain: factor and offset of its output, once neurons read it: each one number, or one per channel.
    """

    name: str
    operation: Operation | None
    shape: Shape
    reads: list[str] = field(default_factory=list)
    node: Node | None = None
    weight: np.ndarray = field(default_factory=lambda: np.zeros(0))
    bias: np.ndarray = field(default_factory=lambda: np.zeros(0))
    delayed: bool = False
    gain: np.ndarray | None = None

    @property
    def is_layer(self) -> bool:
        """Whether it has weights."""
        return isinstance(self.operation, Weighted)


class Value(NamedTuple):
    """What a node of the file gives.

    Attributes:
        part: the part with these values, perhaps in another shape.
        shape: their shape in the file.
        factor: what they must still be multiplied by: [*shape] of a signal, [channels] of a current.
        layer: the layer whose current it is; None: a signal.
        summed: how many of a layer's values it adds.
    """

    part: Part
    shape: Shape
    factor: np.ndarray
    layer: Part | None = None
    summed: int = 1


class Layers:
    """A network's parts.

    Args:
        network: its nodes.
        image: shape of an image, (channels, height, width).
        entering: shape of its input in the file: that of the image, or (features,).
        source: the file, for messages.

    Attributes:
        parts: by name, each after those that it reads, unless it's delayed.
        output: the last neurons.

    Raises:
        UserError: csnn_jax doesn't support a node there; the message names it.
    """

    def __init__(self, network: Network, image: Shape, entering: Shape, source: str):
        for node in network.nodes:
            if node.kind not in _STEPS:
                raise node.error(f"{one_line(node.kind)} isn't supported, expected {_KNOWN}")
        start = Part(IMAGE, None, image)
        self.parts = {IMAGE: start}
        self._network, self._inputs = network, dict[str, list[Value]]()
        self._values = {network.start: Value(start, entering, np.ones(entering))}
        for node in network.nodes:
            if node.kind in _NEURONS:
                self._values[node.name] = self._neurons(node)
                continue
            if len(node.inputs) != 1:
                inputs = " and ".join(f"`{one_line(name)}`" for name in node.inputs)
                raise node.error(f"{node.kind} reads {inputs}, expected one node, because only neurons add")
            self._values[node.name] = _STEPS[node.kind](self, node, self._values[node.inputs[0]])
        self.output = self._ending(source)
        for part in [one for one in self.parts.values() if one.node and one.node.kind in _NEURONS]:
            self._connect(part)
        self._as_linear(self.output)

    @property
    def layers(self) -> list[Part]:
        """The parts with weights."""
        return [part for part in self.parts.values() if part.is_layer]

    @property
    def neurons(self) -> list[Part]:
        """The parts that are neurons."""
        return [part for part in self.parts.values() if part.operation is None and part.name != IMAGE]

    @property
    def chain(self) -> list[Part] | None:
        """The parts in order if each reads the one before; otherwise None."""
        readers = {part.reads[0]: part for part in self.parts.values() if len(part.reads) == 1 and not part.delayed}
        chain = [self.parts[IMAGE]]
        while chain[-1].name in readers:
            chain.append(readers[chain[-1].name])
        return chain[1:] if len(chain) == len(self.parts) else None

    def values_of(self, part: Part) -> list[Value]:
        """The currents that neurons read."""
        return self._inputs[part.name]

    def reads_image(self, part: Part) -> bool:
        """Whether a layer reads the image, perhaps pooled or flattened."""
        while (part := self.parts[part.reads[0]]).operation is not None:
            pass
        return part.name == IMAGE

    def reads_itself(self, part: Part) -> bool:
        """Whether neurons read their own spikes through a layer."""
        return any(one.part.delayed and one.part.reads == [part.name] for one in self.values_of(part))

    def fold(self, part: Part, gain: np.ndarray, offset: np.ndarray) -> None:
        """Changes the current of neurons to gain * current + offset, each one number or one per channel.

        Raises:
            UserError: other neurons, which need another factor, read the same layer.
        """
        for number, value in enumerate(self.values_of(part)):
            layer = value.layer
            assert layer is not None and layer.node is not None
            factor = np.broadcast_to(gain * value.factor, len(layer.bias))
            added = np.broadcast_to(np.asarray(offset) / value.summed * (number == 0), len(layer.bias))
            both = np.stack([factor, added])  # a sum adds as many biases
            if layer.gain is None:
                layer.weight = layer.weight * np.reshape(factor, (-1, *[1] * (layer.weight.ndim - 1)))
                layer.bias = layer.bias * factor + added
                layer.gain = both
            elif not np.array_equal(layer.gain, both):
                raise layer.node.error(f"feeds {part.name} and other neurons with other factors, expected the same")

    def _add(self, node: Node | None, name: str, operation: Operation | None, shape: Shape, **fields: Any) -> Part:
        part = Part(unique(name, self.parts), operation, shape, node=node, **fields)
        self.parts[part.name] = part
        return part

    def _layer(self, node: Node, value: Value, operation: Operation, shape: Shape, weight: np.ndarray) -> Value:
        """A layer that reads a signal."""
        bias = node.numbers("bias").astype(np.float64) if "bias" in node.values else np.zeros(len(weight))
        if bias.shape != (len(weight),):
            raise node.error(f"bias has shape {list(bias.shape)}, expected [{len(weight)}]")
        reads = [value.part.name]
        if not isinstance(operation, Convolution) and len(value.part.shape) != 1:
            reads = [self._add(None, "flatten", Flatten(), value.shape, reads=reads).name]
        part = self._add(node, node.name, operation, shape, reads=reads, weight=weight, bias=bias)
        return Value(part, shape, np.ones(shape[0]), part)

    def conv(self, node: Node, value: Value) -> Value:
        """Conv2d."""
        weight = self._weight(node, value, 4)
        out, inputs, kernel, width = weight.shape
        if kernel != width:
            raise node.error(f"weight has shape {list(weight.shape)}, expected a square kernel")
        if len(value.shape) != 3 or value.shape[0] != inputs:
            raise node.error(f"weight has shape {list(weight.shape)}, but its input is {_by(value.shape)}")
        for name in ("groups", "dilation"):
            if whole(node, name) != 1:
                raise node.error(f"{name} is {whole(node, name)}, expected 1")
        stride, zeros = whole(node, "stride"), padding(node, kernel)
        if stride < 1:
            raise node.error(f"stride is {stride}, expected at least 1")
        operation = Convolution(out, kernel, stride, zeros)
        channels, height, width = value.shape
        *sizes, _ = operation.shape((height, width, channels))
        if 0 in sizes:
            raise node.error(f"its input is {_by(value.shape)}, which leaves no output; expected larger images")
        factor = per_channel(node, "the Scale before it", value.factor, value.shape)
        return self._layer(node, value, operation, (out, *sizes), weight * factor.reshape(-1, 1, 1))

    def linear(self, node: Node, value: Value) -> Value:
        """Linear or Affine."""
        weight = self._weight(node, value, 2)
        if len(value.shape) != 1:
            raise node.error(f"gets {_by(value.shape)}, expected a Flatten before it")
        if weight.shape[1:] != value.shape:
            raise node.error(f"weight has shape {list(weight.shape)}, but its input has {value.shape[0]} values")
        return self._layer(node, value, Linear(len(weight)), weight.shape[:1], weight * value.factor)

    def _weight(self, node: Node, value: Value, axes: int) -> np.ndarray:
        if value.layer:
            assert value.layer.node is not None
            follows = f"follows `{one_line(value.layer.node.name)}`"
            raise node.error(f"{node.kind} {follows}, expected neurons between them")
        weight = node.numbers("weight").astype(np.float64)
        if weight.ndim != axes:
            raise node.error(f"weight has shape {list(weight.shape)}, expected {axes} axes")
        return weight

    def pool(self, node: Node, value: Value) -> Value:
        """SumPool2d or AvgPool2d."""
        if len(value.shape) != 3:
            raise node.error(f"{node.kind} gets {_by(value.shape)}, expected channels, height and width")
        size, stride, zeros = (whole(node, name) for name in ("kernel_size", "stride", "padding"))
        if size < 2 or size & (size - 1):
            raise node.error(f"kernel_size is {size}, expected a power of two, which keeps the average exact")
        if stride < 1 or zeros:
            raise node.error(f"stride is {stride} and padding {zeros}, expected a stride of at least 1 and padding 0")
        operation = Pooling(_POOLS[node.kind], size, stride)
        channels, height, width = value.shape
        shape = (channels, operation.positions(height), operation.positions(width))
        if not min(shape):
            raise node.error(f"its input has {height}x{width} pixels, fewer than a window of {size}x{size}")
        part = self._add(node, node.name, operation, shape, reads=[value.part.name])
        added = operation.window if operation.kind == "sum" else 1
        if value.layer:
            return value._replace(part=part, shape=shape, summed=value.summed * added)
        factor = per_channel(node, "the Scale before it", value.factor, value.shape)
        return Value(part, shape, np.ones(shape) * factor.reshape(-1, 1, 1))

    def flatten(self, node: Node, value: Value) -> Value:
        """Flatten: the parts keep their shapes, and layers that need features get a flatten of their own."""
        start, end, axes = whole(node, "start_dim"), whole(node, "end_dim"), len(value.shape)
        if axes > 1 and (start not in (0, 1, -axes) or end not in (-1, axes - 1, axes)):  # 1, 3: with a batch in front
            raise node.error(f"start_dim is {start} and end_dim {end}, expected all axes of {_by(value.shape)}")
        factor = value.factor if value.layer else value.factor.ravel()
        return value._replace(shape=(math.prod(value.shape),), factor=factor)

    def scale(self, node: Node, value: Value) -> Value:
        """Scale."""
        if not value.layer:
            return value._replace(factor=value.factor * broadcast(node, "scale", value.shape))
        factors = np.reshape(broadcast(node, "scale", value.shape), value.part.shape)
        return value._replace(factor=value.factor * per_channel(node, "scale", factors, value.part.shape))

    def _neurons(self, node: Node) -> Value:
        """Neurons, which read their inputs once all nodes are known."""
        values = [self._values[name] for name in node.inputs if name in self._values]
        part = self._add(node, node.name, None, values[0].part.shape)
        return Value(part, values[0].shape, np.ones(values[0].shape))

    def _connect(self, part: Part) -> None:
        """Sets the inputs of neurons."""
        node = part.node
        assert node is not None
        self._inputs[part.name] = []
        if node.kind == "LI" and part is not self.output:
            raise node.error("LI doesn't spike, expected it only after the last layer")
        closing = self._network.closing
        for name in sorted(node.inputs, key=lambda name: (name, node.name) in closing):
            closes = (name, node.name) in closing
            value = self._values[name]
            if not value.layer:
                value = self._one_to_one(node, value, closes)
            if value.part.shape != part.shape:
                raise node.error(f"adds {_by(part.shape)} and {_by(value.part.shape)} values, expected equal shapes")
            part.reads.append(value.part.name)
            self._inputs[part.name].append(value)
            if closes:
                self._delay(node, value)

    def _one_to_one(self, node: Node, value: Value, closes: bool) -> Value:
        """A layer with one weight for each feature, for neurons that read the spikes of others directly or scaled."""
        if value.part.operation or value.part.name == IMAGE or len(value.part.shape) != 1:
            raise node.error(f"{node.kind} follows no layer, expected a Conv2d, Linear or Affine before it")
        operation = OneToOne(math.prod(value.shape))
        name = f"{node.name}_{'rec' if closes else 'in'}"
        weight = value.factor.astype(np.float64)
        part = self._add(node, name, operation, value.shape, reads=[value.part.name], weight=weight)
        part.bias = np.zeros(len(weight))
        return Value(part, value.shape, np.ones(len(weight)), part)

    def _delay(self, node: Node, value: Value) -> None:
        """Lets the spikes at the start of what closes a cycle come from the step before.

        It's the same there as at its end, except that biases count from the first step on, as NIR's equations have it.
        """
        part, path = value.part, list[Part]()
        while part.operation is not None:
            path.append(part)
            part = self.parts[part.reads[0]]
        first = path[-1]
        first.delayed = True
        readers = Counter(name for one in self.parts.values() for name in one.reads)
        later = Counter(name for one in self._network.nodes for name in one.inputs)
        for one in path:
            read = later[one.node.name] if one.node and one.node is not node else 0
            if max(readers[one.name], read) > 1:
                raise node.error(f"closes a cycle through {one.name}, expected no other node that reads {one.name}")
        if isinstance(first.operation, Linear) and _is_diagonal(first.weight):
            first.operation, first.weight = OneToOne(len(first.weight)), np.diagonal(first.weight).copy()

    def _ending(self, source: str) -> Part:
        """The last neurons; integrators if the last layer has none."""
        value = self._values[self._network.end]
        if value.part.name == IMAGE:
            raise UserError(f"{source}: has no Conv2d, Linear or Affine, expected a network")
        if value.layer:
            part = self._add(None, f"{value.part.name}_sum", None, value.part.shape, reads=[value.part.name])
            self._inputs[part.name] = [value]
            return part
        end = next(node for node in self._network.nodes if node.name == self._network.end)
        if value.part.operation or (value.factor != 1).any():
            raise end.error(f"{end.kind} is the last node, expected the neurons of the last layer")
        return value.part

    def _as_linear(self, last: Part) -> None:
        """Makes convolutions whose only output is 1x1, of the last neurons, linear layers with the same sums."""
        if len(last.shape) == 1:
            return
        for value in self.values_of(last):
            layer = value.part
            if layer is not value.layer or last.shape[1:] != (1, 1):
                node = (value.layer or layer).node
                assert node is not None
                raise node.error(
                    f"is the last layer, of {_by(last.shape)} neurons, expected a Linear, an Affine or 1x1 pixels"
                )
            convolution = layer.operation
            assert isinstance(convolution, Convolution)
            entering = self.parts[layer.reads[0]]
            channels, height, width = entering.shape
            zeros = convolution.padding
            room = zeros + max(height, width) + convolution.kernel
            padded = np.zeros((convolution.channels, channels, room, room))
            padded[:, :, : convolution.kernel, : convolution.kernel] = layer.weight
            weight = padded[:, :, zeros : zeros + height, zeros : zeros + width]
            features = (channels * height * width,)
            flat = self._add(None, "flatten", Flatten(), features, reads=[entering.name], delayed=layer.delayed)
            layer.operation, layer.weight = Linear(convolution.channels), weight.reshape(len(weight), -1)
            layer.reads, layer.delayed, layer.shape = [flat.name], False, last.shape[:1]
        last.shape = last.shape[:1]


_STEPS: dict[str, Any] = {
    "Conv2d": Layers.conv,
    "Linear": Layers.linear,
    "Affine": Layers.linear,
    **dict.fromkeys(_POOLS, Layers.pool),
    "Flatten": Layers.flatten,
    "Scale": Layers.scale,
    **dict.fromkeys(_NEURONS),
}


def _is_diagonal(weight: np.ndarray) -> bool:
    return weight.shape == weight.T.shape and np.count_nonzero(weight) == np.count_nonzero(np.diagonal(weight))


def unique(name: str, taken: Any) -> str:
    """A valid name of a node that isn't taken: other characters become `_`; a number in front, which orders a file's
    nodes, is dropped, and one that's the whole name gets an `n`."""
    shown = "".join(one if one in "-_" or (one.isascii() and one.isalnum()) else "_" for one in name)
    shown, number = (shown.lstrip("0123456789-_") or f"n{shown}")[:32], 1
    made = shown
    while made in taken or made == IMAGE:
        number += 1
        made = f"{shown}_{number}"
    return made


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
