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

from csnn_jax.config.graph import IMAGE, Edge, Operation
from csnn_jax.config.operations import Convolution, Flatten, Linear, OneToOne, Pooling, Weighted
from csnn_jax.errors import UserError, one_line
from csnn_torch.foreign.nir_file import NEURONS, Network, Node
from csnn_torch.foreign.nir_values import Shape, broadcast, padding, per_channel, whole

_POOLS: dict[str, Literal["avg", "sum"]] = {"AvgPool2d": "avg", "SumPool2d": "sum"}
_KNOWN = f"Conv2d, Linear, Affine, {', '.join(_POOLS)}, Flatten, Scale, Delay, {', '.join(NEURONS)}"
_NEAR = 1e-6
"""Relative tolerance of a delay in steps, which is rarely a whole number of them in float32."""


@dataclass
class Part:
    """A node of our network.

    Attributes:
        name: its name.
        operation: what it computes; None: neurons, or the image.
        shape: shape of its output.
        reads: the parts that it reads, which are added.
        node: the file's node; None: neurons that the file lacks after its last layer.
        weight: in torch's layout, float64; of layers.
        bias: [out], float64; of layers.
        gain: factor and offset of its output, once neurons read it: each one number, or one per channel.
    """

    name: str
    operation: Operation | None
    shape: Shape
    reads: list[Edge] = field(default_factory=list)
    node: Node | None = None
    weight: np.ndarray = field(default_factory=lambda: np.zeros(0))
    bias: np.ndarray = field(default_factory=lambda: np.zeros(0))
    gain: np.ndarray | None = None

    @property
    def is_layer(self) -> bool:
        """Whether it has weights."""
        return isinstance(self.operation, Weighted)


class Value(NamedTuple):
    """What a node of the file gives, or one of several that it adds.

    Attributes:
        part: the part with these values, perhaps in another shape.
        shape: their shape in the file.
        factor: what they must still be multiplied by: [*shape] of a signal, [channels] of a current.
        layer: the layer whose current it is; None: a signal.
        summed: how many of a layer's values it adds.
        delay: how many steps later what reads it gets it.
        late: whether it's a current that's delayed after its layer.
    """

    part: Part
    shape: Shape
    factor: np.ndarray
    layer: Part | None = None
    summed: int = 1
    delay: int = 0
    late: bool = False

    @property
    def edge(self) -> Edge:
        """What a part that reads it reads."""
        return Edge(self.part.name, self.delay)


Values = list[Value]


class Layers:
    """A network's parts.

    Args:
        network: its nodes.
        image: shape of an image, (channels, height, width).
        entering: shape of its input in the file: that of the image, or (features,).
        source: the file, for messages.
        step: length of a step, in the unit of delays.

    Attributes:
        parts: by name.
        output: the last neurons.

    Raises:
        UserError: csnn_jax doesn't support a node there; the message names it.
    """

    def __init__(self, network: Network, image: Shape, entering: Shape, source: str, step: float = 1.0):
        for node in network.nodes:
            if node.kind not in _STEPS:
                raise node.error(f"{one_line(node.kind)} isn't supported, expected {_KNOWN}")
        start = Part(IMAGE, None, image)
        self.parts = {IMAGE: start}
        self._network, self._inputs, self._step = network, dict[str, Values](), step
        self._values = {network.start: [Value(start, entering, np.ones(entering))]}
        for node in network.nodes:
            known = [value for name in node.inputs for value in self._values.get(name, ())]
            if node.kind in NEURONS:
                self._values[node.name] = [self._neurons(node, known)]
                continue
            if any(name not in self._values for name in node.inputs):
                raise node.error(f"{node.kind} is where a cycle starts, expected neurons there")
            if not all(value.shape == known[0].shape for value in known):
                raise node.error(
                    f"adds {' and '.join(_by(value.shape) for value in known)} values, expected equal shapes"
                )
            self._values[node.name] = _STEPS[node.kind](self, node, known)
        self.output = self._ending(source)
        for part in [one for one in self.parts.values() if one.node and one.node.kind in NEURONS]:
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
        readers = {part.reads[0]: part for part in self.parts.values() if len(part.reads) == 1}
        chain = [self.parts[IMAGE]]
        while Edge(chain[-1].name) in readers:
            chain.append(readers[Edge(chain[-1].name)])
        return chain[1:] if len(chain) == len(self.parts) else None

    def values_of(self, part: Part) -> Values:
        """The currents that neurons read."""
        return self._inputs[part.name]

    def reads_image(self, part: Part) -> bool:
        """Whether a layer reads the image, perhaps pooled or flattened."""
        return any(edge.source == IMAGE for one in self._path(part) for edge in one.reads)

    def reads_itself(self, part: Part) -> bool:
        """Whether neurons read their own spikes through a layer."""
        return any(value.part.reads == [Edge(part.name, 1)] for value in self.values_of(part))

    def _path(self, part: Part) -> list[Part]:
        """A part, and those without state between it and the neurons or the image that it reads."""
        path, left = dict[str, Part](), [part]
        while left:
            path[(part := left.pop()).name] = part
            sources = (self.parts[edge.source] for edge in part.reads)
            left += [one for one in sources if one.operation is not None and one.name not in path]
        return [*path.values()]

    def fold(self, part: Part, gain: np.ndarray, offset: np.ndarray) -> None:
        """Changes the current of neurons to gain * current + offset, each one number or one per channel.

        Raises:
            UserError: other neurons, which need another factor, read the same layer, or all currents are delayed, and
                there's an offset.
        """
        values = self.values_of(part)
        first = next((number for number, value in enumerate(values) if not value.late), None)
        if first is None and np.any(offset):
            assert part.node is not None
            raise part.node.error("gets a constant input, and all others are delayed, expected one without a delay")
        for number, value in enumerate(values):
            layer = value.layer
            assert layer is not None and layer.node is not None
            factor = np.broadcast_to(gain * value.factor, len(layer.bias))
            added = np.broadcast_to(np.asarray(offset) / value.summed * (number == first), len(layer.bias))
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

    def _layer(self, node: Node, values: Values, operation: Operation, shape: Shape, weight: np.ndarray) -> Values:
        """A layer that reads signals."""
        bias = node.numbers("bias").astype(np.float64) if "bias" in node.values else np.zeros(len(weight))
        if bias.shape != (len(weight),):
            raise node.error(f"bias has shape {list(bias.shape)}, expected [{len(weight)}]")
        reads, flat = [value.edge for value in values], len(values[0].shape) == 1
        if images := [value.edge for value in values if flat and len(value.part.shape) != 1]:
            flatten = self._add(None, "flatten", Flatten(), values[0].shape, reads=images)
            reads = [Edge(flatten.name), *(edge for edge in reads if edge not in images)]
        part = self._add(node, node.name, operation, shape, reads=reads, weight=weight, bias=bias)
        return [Value(part, shape, np.ones(shape[0]), part)]

    def conv(self, node: Node, values: Values) -> Values:
        """Conv2d."""
        weight, value = self._weight(node, values, 4), values[0]
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
        return self._layer(node, values, operation, (out, *sizes), weight * factor.reshape(-1, 1, 1))

    def linear(self, node: Node, values: Values) -> Values:
        """Linear or Affine."""
        weight, value = self._weight(node, values, 2), values[0]
        if len(value.shape) != 1:
            raise node.error(f"gets {_by(value.shape)}, expected a Flatten before it")
        if weight.shape[1:] != value.shape:
            raise node.error(f"weight has shape {list(weight.shape)}, but its input has {value.shape[0]} values")
        return self._layer(node, values, Linear(len(weight)), weight.shape[:1], weight * value.factor)

    def _weight(self, node: Node, values: Values, axes: int) -> np.ndarray:
        for layer in (value.layer for value in values if value.layer):
            assert layer.node is not None
            follows = f"follows `{one_line(layer.node.name)}`"
            raise node.error(f"{node.kind} {follows}, expected neurons between them")
        self._check_factors(node, values)
        weight = node.numbers("weight").astype(np.float64)
        if weight.ndim != axes:
            raise node.error(f"weight has shape {list(weight.shape)}, expected {axes} axes")
        return weight

    def _check_factors(self, node: Node, values: Values) -> None:
        """Raises UserError unless a node that adds signals can have one factor for all."""
        if not all(np.array_equal(value.factor, values[0].factor) for value in values):
            raise node.error(f"{node.kind} adds signals that are scaled differently, expected the same Scale for all")

    def pool(self, node: Node, values: Values) -> Values:
        """SumPool2d or AvgPool2d."""
        value = values[0]
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
        part = self._add(node, node.name, operation, shape, reads=[one.edge for one in values])
        added = operation.window if operation.kind == "sum" else 1
        if all(one.layer for one in values):
            return [one._replace(part=part, shape=shape, summed=one.summed * added, delay=0) for one in values]
        if any(one.layer for one in values):
            raise node.error(f"{node.kind} adds spikes and currents, expected one kind")
        self._check_factors(node, values)
        factor = per_channel(node, "the Scale before it", value.factor, value.shape)
        return [Value(part, shape, np.ones(shape) * factor.reshape(-1, 1, 1))]

    def flatten(self, node: Node, values: Values) -> Values:
        """Flatten: the parts keep their shapes, and layers that need features get a flatten of their own."""
        start, end, axes = whole(node, "start_dim"), whole(node, "end_dim"), len(values[0].shape)
        if axes > 1 and (start not in (0, 1, -axes) or end not in (-1, axes - 1, axes)):  # 1, 3: with a batch in front
            raise node.error(f"start_dim is {start} and end_dim {end}, expected all axes of {_by(values[0].shape)}")
        shape = (math.prod(values[0].shape),)
        return [one._replace(shape=shape, factor=one.factor if one.layer else one.factor.ravel()) for one in values]

    def scale(self, node: Node, values: Values) -> Values:
        """Scale."""
        return [self._scaled(node, value) for value in values]

    def _scaled(self, node: Node, value: Value) -> Value:
        if not value.layer:
            return value._replace(factor=value.factor * broadcast(node, "scale", value.shape))
        factors = np.reshape(broadcast(node, "scale", value.shape), value.part.shape)
        return value._replace(factor=value.factor * per_channel(node, "scale", factors, value.part.shape))

    def delay(self, node: Node, values: Values) -> Values:
        """Delay, in the unit of the time constants."""
        delays = broadcast(node, "delay", values[0].shape).astype(np.float64)
        low, high = delays.min(), delays.max()
        if low != high:
            raise node.error(f"delay goes from {low:g} to {high:g}, expected the same for all")
        steps = round(high / self._step)
        if high < 0 or abs(high / self._step - steps) > _NEAR * steps:
            count = f"delay is {high:g}, {high / self._step:.6g} steps of {self._step:g}"
            raise node.error(f"{count}, expected a whole number of at least 0; see --dt and --written-by")
        return [one._replace(delay=one.delay + steps, late=one.late or bool(one.layer and steps)) for one in values]

    def _neurons(self, node: Node, values: Values) -> Value:
        """Neurons, which read their inputs once all nodes are known."""
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
            for value in self._values[name]:
                if not value.layer:
                    value = self._one_to_one(node, value, closes)
                if value.part.shape != part.shape:
                    listed = f"{_by(part.shape)} and {_by(value.part.shape)}"
                    raise node.error(f"adds {listed} values, expected equal shapes")
                if value.edge not in part.reads:
                    part.reads.append(value.edge)
                self._inputs[part.name].append(value)
                if closes:
                    self._close(node, value)

    def _one_to_one(self, node: Node, value: Value, closes: bool) -> Value:
        """A layer with one weight for each feature, for neurons that read the spikes of others directly or scaled."""
        if value.part.operation or value.part.name == IMAGE or len(value.part.shape) != 1:
            raise node.error(f"{node.kind} follows no layer, expected a Conv2d, Linear or Affine before it")
        operation = OneToOne(math.prod(value.shape))
        name = f"{node.name}_{'rec' if closes else 'in'}"
        weight = value.factor.astype(np.float64)
        part = self._add(node, name, operation, value.shape, reads=[value.edge], weight=weight)
        part.bias = np.zeros(len(weight))
        return Value(part, value.shape, np.ones(len(weight)), part)

    def _close(self, node: Node, value: Value) -> None:
        """Lets the spikes at the start of what closes a cycle come from the step before.

        It's the same there as at its end, except that biases count from the first step on, as NIR's equations have it.
        """
        path = self._path(value.part)
        readers = Counter(edge.source for one in self.parts.values() for edge in one.reads)
        later = Counter(name for one in self._network.nodes for name in one.inputs)
        for one in path:
            read = later[one.node.name] if one.node and one.node is not node else 0
            if max(readers[one.name], read) > 1:
                raise node.error(f"closes a cycle through {one.name}, expected no other node that reads {one.name}")
            one.reads = [Edge(name, delay + (self.parts[name].operation is None)) for name, delay in one.reads]
        first = path[-1]
        if isinstance(first.operation, Linear) and _is_diagonal(first.weight):
            first.operation, first.weight = OneToOne(len(first.weight)), np.diagonal(first.weight).copy()

    def _ending(self, source: str) -> Part:
        """The last neurons; integrators if the last layer has none."""
        values = self._values[self._network.end]
        value = values[0]
        if value.part.name == IMAGE:
            raise UserError(f"{source}: has no Conv2d, Linear or Affine, expected a network")
        if all(one.layer for one in values):
            reads = [*dict.fromkeys(one.edge for one in values)]
            part = self._add(None, f"{value.part.name}_sum", None, value.part.shape, reads=reads)
            self._inputs[part.name] = values
            return part
        end = next(node for node in self._network.nodes if node.name == self._network.end)
        if len(values) > 1 or value.delay or value.part.operation or (value.factor != 1).any():
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
            entering = self.parts[layer.reads[0].source]
            channels, height, width = entering.shape
            zeros = convolution.padding
            room = zeros + max(height, width) + convolution.kernel
            padded = np.zeros((convolution.channels, channels, room, room))
            padded[:, :, : convolution.kernel, : convolution.kernel] = layer.weight
            weight = padded[:, :, zeros : zeros + height, zeros : zeros + width]
            features = (channels * height * width,)
            flat = self._add(None, "flatten", Flatten(), features, reads=layer.reads)
            layer.operation, layer.weight = Linear(convolution.channels), weight.reshape(len(weight), -1)
            layer.reads, layer.shape = [Edge(flat.name)], last.shape[:1]
        last.shape = last.shape[:1]


_STEPS: dict[str, Any] = {
    "Conv2d": Layers.conv,
    "Linear": Layers.linear,
    "Affine": Layers.linear,
    **dict.fromkeys(_POOLS, Layers.pool),
    "Flatten": Layers.flatten,
    "Scale": Layers.scale,
    "Delay": Layers.delay,
    **dict.fromkeys(NEURONS),
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
