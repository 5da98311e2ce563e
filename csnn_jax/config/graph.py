"""A network as a graph of named nodes, with their shapes and the grids of their values.

A node's output is either a signal or a current. Signals are the image, spikes, and pools of these: multiples of a step
that's known when the graph is built. Currents are what weights make of signals, and pools of them: their grids depend
on the weights (docs/design.md, section 2).
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

from csnn_jax.config.grid import LEAST, Grid
from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import NEVER, Neurons

Pool = Literal["max", "avg", "sum", "none"]
Padding = Literal["same", "valid"]
IMAGE = "image"
"""The node that every graph begins with."""


@dataclass(frozen=True)
class Convolution:
    """A convolution of rows, columns and channels: a current.

    Attributes:
        channels: output channels.
        kernel: height and width of the kernel, in pixels.
        stride: distance between its positions, in pixels.
        padding: zeros on every side of the input, in pixels.
        bias: whether each output channel has a bias.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = True

    def shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The output shape."""
        padded = (size + 2 * self.padding for size in entering[:2])
        return (*(_positions(size, self.kernel, self.stride) for size in padded), self.channels)

    def kernel_shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of its weights, [k, k, in, out]."""
        return self.kernel, self.kernel, entering[-1], self.channels


@dataclass(frozen=True)
class Linear:
    """A product of features with a matrix: a current.

    Attributes:
        channels: output features.
        bias: whether each has a bias.
    """

    channels: int
    bias: bool = True

    def shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The output shape."""
        return (self.channels,)

    def kernel_shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of its weights, [in, out]."""
        return entering[-1], self.channels


@dataclass(frozen=True)
class Pooling:
    """The pooling between a convolution and its neurons, or after the neurons. Incomplete windows are dropped.

    Attributes:
        kind: `max`, `avg` or `sum`.
        size: height and width of a window, in pixels.
        stride: distance between windows, in pixels.
    """

    kind: Literal["max", "avg", "sum"]
    size: int = 2
    stride: int = 2

    def __post_init__(self):
        if self.kind != "max" and self.window & (self.window - 1):
            inexact = f"{self.kind} of {self.window} pixels isn't exact"
            raise UserError(f"--pool-size {self.size}: {inexact}, expected 2, 4 or 8")

    @property
    def window(self) -> int:
        """Pixels in a window."""
        return self.size**2

    @property
    def bits(self) -> int:
        """Extra bits that a sum over a window needs; 0 for a maximum."""
        return 0 if self.kind == "max" else (self.window - 1).bit_length()

    @property
    def step(self) -> float:
        """Pooling integers gives multiples of this."""
        return 1 / self.window if self.kind == "avg" else 1.0

    def shape(self, of: tuple[int, ...]) -> tuple[int, ...]:
        """The output shape for an input of (rows, columns, channels)."""
        *sizes, channels = of
        return (*map(self.positions, sizes), channels)

    def positions(self, length: int) -> int:
        """How many windows fit into `length` pixels."""
        return _positions(length, self.size, self.stride)

    def __str__(self) -> str:
        apart = "" if self.stride == self.size else f" every {self.stride} pixels"
        return f"{self.size}x{self.size} {self.kind}{apart}"


@dataclass(frozen=True)
class Flatten:
    """Rows, columns and channels as features, in this order."""

    def shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The output shape."""
        return (math.prod(entering),)


def _positions(length: int, window: int, stride: int) -> int:
    """How many positions a window has within a length; 0 if it doesn't fit."""
    return max(0, (length - window) // stride + 1)


Operation = Convolution | Linear | Pooling | Flatten | Neurons
Weighted = Convolution | Linear


class Edge(NamedTuple):
    """An input of a node.

    Attributes:
        source: the node that it comes from.
        delay: how many steps later it arrives; before that, it's 0.
    """

    source: str
    delay: int = 0


class Signal(NamedTuple):
    """The grid of a signal: multiples of `step`, a power of two, from 0 to 2^`bits` of them."""

    bits: int = 0
    step: float = 1.0


class Current(NamedTuple):
    """What a current consists of: sums of 2^`added` values of a weighted node."""

    source: str
    added: int = 0


@dataclass(frozen=True)
class Node:
    """An operation in a graph.

    Attributes:
        name: `conv1`, `pool1`, `lif1`, `flatten3`, `fc1`, ...: the prefix of its parameters and of tensors in files.
        operation: what it computes; None: nothing, it's the image.
        inputs: the nodes that it reads.
        shape: of its output, without the batch: (rows, columns, channels) or (features,).
        values: the grid of a signal, or what a current consists of.
    """

    name: str
    operation: Operation | None
    inputs: tuple[Edge, ...]
    shape: tuple[int, ...] = ()
    values: Signal | Current = field(default=Signal())

    @property
    def channels_first(self) -> tuple[int, ...]:
        """Its shape in torch's layout."""
        return self.shape[-1], *self.shape[:-1]


@dataclass(frozen=True)
class NeuronNode(Node):
    """A layer of neurons."""

    operation: Neurons

    @property
    def size(self) -> int:
        """How many neurons it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class WeightedNode(Node):
    """A convolution or a linear layer.

    Attributes:
        kernel_shape: shape of its weights in this package's layout, [k, k, in, out] or [in, out].
        grid: the grid of its weights.
    """

    operation: Weighted
    kernel_shape: tuple[int, ...] = field(kw_only=True)
    grid: Grid = field(kw_only=True)

    @property
    def channels(self) -> int:
        """Output channels, or features of a linear layer."""
        return self.kernel_shape[-1]

    @property
    def bias(self) -> bool:
        """Whether each output channel has a bias."""
        return self.operation.bias

    @property
    def is_convolution(self) -> bool:
        """Whether it's a convolution, not a linear layer."""
        return isinstance(self.operation, Convolution)


class Misfit(UserError):
    """A node doesn't fit its inputs, or has too many of them.

    Attributes:
        node: the node.
        reason: the rest of the message.
    """

    def __init__(self, node: Node, reason: str):
        super().__init__(f"{node.name} {reason}")
        self.node, self.reason = node, reason


class NoOutput(Misfit):
    """A node's window doesn't fit into its input."""


class TooManyInputs(Misfit):
    """A node adds so many inputs that too few bits are left for exact weights."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A network's nodes by name, in the order of their execution; the first one is the image."""

    nodes: Mapping[str, Node]

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def __iter__(self) -> Iterator[Node]:
        """The nodes in order, without the image."""
        return (node for node in self.nodes.values() if node.operation is not None)

    @cached_property
    def neurons(self) -> tuple[NeuronNode, ...]:
        """The nodes of neurons, in order."""
        return tuple(node for node in self if isinstance(node, NeuronNode))

    @cached_property
    def initial(self) -> dict[str, Any]:
        """The initial values of the neurons' parameters that are stored with the weights, by their names in files."""
        return {name: value for node in self.neurons for name, value in node.operation.initial.items()}

    @cached_property
    def spiking(self) -> tuple[NeuronNode, ...]:
        """The neurons that can fire, so all but integrators."""
        return tuple(node for node in self.neurons if node.operation["threshold"] < NEVER)

    @cached_property
    def weighted(self) -> tuple[WeightedNode, ...]:
        """The nodes with weights, in order."""
        return tuple(node for node in self if isinstance(node, WeightedNode))

    @cached_property
    def pools(self) -> tuple[Pooling, ...]:
        """The pools in order."""
        return tuple(node.operation for node in self if isinstance(node.operation, Pooling))

    @cached_property
    def constant(self) -> tuple[str, ...]:
        """The nodes that depend only on the image of the same step, which may be the same at every step."""
        names = [IMAGE]
        for node in self:
            if not isinstance(node, NeuronNode) and all(one in names and not delay for one, delay in node.inputs):
                names.append(node.name)
        return tuple(names[1:])

    @cached_property
    def delays(self) -> dict[str, int]:
        """The longest delay with which each node is read, if there's one."""
        edges = [edge for node in self for edge in node.inputs if edge.delay]
        return {source: max(delay for one, delay in edges if one == source) for source, _ in edges}

    @cached_property
    def segments(self) -> tuple["Graph", ...]:
        """Parts that can go through the window one after the other.

        The first goes step by step. Each of the others has one layer of neurons behind a linear layer, whose currents
        can be computed for all steps at once, because its inputs are the spikes of the part before.
        """
        parts: list[dict[str, Node]] = [{}]
        after: dict[str, Node] = {}  # nodes since the last neurons
        for node in self:
            after[node.name] = node
            if isinstance(node.operation, Linear) and parts[-1] and not self.delays:
                parts.append({})
            if isinstance(node, NeuronNode):
                parts[-1] |= after
                after = {}
        return tuple(map(Graph, parts))

    def path(self, node: Node) -> tuple[Node, ...]:
        """The nodes between the image or the neurons whose spikes a node reads, and this node, in order."""
        nodes: list[Node] = []
        while _is_computed(node := self.source(node)):
            nodes.insert(0, node)
        return tuple(nodes)

    def weights(self, neurons: NeuronNode) -> WeightedNode:
        """The node whose weights make the current of neurons."""
        (node,) = (node for node in self.path(neurons) if isinstance(node, WeightedNode))
        return node

    def origin(self, node: Node) -> Node:
        """The neurons whose spikes a node reads, directly or through pools, or the image."""
        while _is_computed(node := self.source(node)):
            pass
        return node

    def unflattened(self, node: WeightedNode) -> tuple[int, ...]:
        """The shape of a node's input before it was flattened, or as it is."""
        source = self.source(node)
        return (self.source(source) if isinstance(source.operation, Flatten) else source).shape

    def pool_before(self, node: Node) -> Pooling | None:
        """The pool through which a node reads spikes; None: it reads them as they are."""
        return next((below.operation for below in self.path(node) if isinstance(below.operation, Pooling)), None)

    def pool_after(self, node: Node) -> Pooling | None:
        """The pool that reads a node; None: there's none."""
        return next((reader.operation for reader in self.readers(node) if isinstance(reader.operation, Pooling)), None)

    def readers(self, node: Node) -> tuple[Node, ...]:
        """The nodes that read a node."""
        return tuple(reader for reader in self if any(source == node.name for source, _ in reader.inputs))

    def feeding(self, kind: type) -> tuple[Node, ...]:
        """The neurons whose spikes the nodes of a kind read, in the order of these."""
        origins = (self.origin(node) for node in self if isinstance(node.operation, kind))
        return tuple(node for node in origins if node.operation is not None)

    def multiplies_spikes(self, node: Node) -> bool:
        """Whether a weighted node's inputs are the spikes of neurons, or maxima of them, so 0 or 1."""
        return self.source(node).values == Signal() and self.origin(node).operation is not None

    def source(self, node: Node) -> Node:
        """The node that a node with one input reads."""
        ((name, _),) = node.inputs
        return self.nodes[name]

    def delayed(self, edges: Mapping[Edge, Edge]) -> "Graph":
        """The same graph with some edges replaced by others of another delay."""
        changed = {
            name: replace(node, inputs=tuple(edges.get(edge, edge) for edge in node.inputs))
            for name, node in self.nodes.items()
        }
        return Graph(changed)


def _is_computed(node: Node) -> bool:
    """Whether a node has no state, and isn't the image."""
    return node.operation is not None and not isinstance(node, NeuronNode)


def graph(
    shape: tuple[int, ...], values: Signal, nodes: Iterable[tuple[str, Operation, str]], weight_bits: int | None = None
) -> Graph:
    """Derives shapes and grids.

    Args:
        shape: of an image: (rows, columns, channels).
        values: the grid of its pixels.
        nodes: (name, operation, name of its input), each after its input.
        weight_bits: maximum bits of a weight, including its sign; None: as many as stay exact.

    Raises:
        Misfit: a node has no output, or no input that it can read, or there are too few bits for its weights.
    """
    made = {IMAGE: Node(IMAGE, None, (), shape, values)}
    for name, operation, source in nodes:
        node = Node(name, operation, (Edge(source),))
        if name in made:
            raise Misfit(node, "has the name of another node")
        if source not in made:
            raise Misfit(node, f"reads {source}, expected one of {', '.join(made)}")
        made[name] = _derived(node, operation, made[source])
    most = None if weight_bits is None else weight_bits - 1
    return Graph({name: _specific(node, made, most) for name, node in made.items()})


def _derived(node: Node, operation: Operation, entering: Node) -> Node:
    """A node with its shape and values."""
    ranks = {Convolution: 3, Pooling: 3, Flatten: 3, Linear: 1}
    if (rank := ranks.get(type(operation), len(entering.shape))) != len(entering.shape):
        raise Misfit(node, f"reads {entering.name} of shape {entering.shape}, expected a shape of {rank}")
    is_current = isinstance(entering.values, Current)
    if isinstance(operation, Neurons):
        if not is_current or operation.channels != entering.shape[-1]:
            raise Misfit(node, f"reads {entering.name}, expected a current of {operation.channels} channels")
        return replace(node, shape=entering.shape, values=Signal())
    if isinstance(operation, Weighted | Flatten) and is_current:
        raise Misfit(node, f"reads the current {entering.name}, expected spikes or the image")
    shape = operation.shape(entering.shape)
    if 0 in shape:
        raise NoOutput(node, f"has no output for {'x'.join(map(str, entering.shape[:2]))} inputs")
    if isinstance(operation, Weighted):
        return replace(node, shape=shape, values=Current(node.name))
    values: Any = entering.values
    if isinstance(operation, Pooling):
        values = (
            values._replace(added=values.added + operation.bits)
            if is_current
            else Signal(values.bits + operation.bits, values.step * operation.step)
        )
    return replace(node, shape=shape, values=values)


def _specific(node: Node, nodes: Mapping[str, Node], most: int | None) -> Node:
    """A node of its class. The grid of weights follows from their inputs, and from the currents that they enter."""
    operation = node.operation
    if isinstance(operation, Neurons):
        return NeuronNode(node.name, operation, node.inputs, node.shape, node.values)
    if not isinstance(operation, Weighted):
        return node
    entering = nodes[node.inputs[0].source]
    assert isinstance(entering.values, Signal)
    currents = (one.values for one in nodes.values() if isinstance(one.values, Current))
    added = max(current.added for current in currents if current.source == node.name)
    shape = operation.kernel_shape(entering.shape)
    grid = Grid(math.prod(shape[:-1]), entering.values.bits, entering.values.step, added, most)
    if grid.room < LEAST:
        inputs = f"{grid.terms:,} inputs of {grid.input_bits} bits" if grid.input_bits else f"{grid.terms:,} spikes"
        room = f"{max(0, grid.room)} bits for weights, not at least {LEAST}"
        raise TooManyInputs(node, f"adds {inputs}, which leave {room}")
    fields = (node.name, operation, node.inputs, node.shape, node.values)
    return WeightedNode(*fields, kernel_shape=shape, grid=grid)
