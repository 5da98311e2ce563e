"""A network as a graph of named nodes, with their shapes and the grids of their values.

A node's output is either a signal or a current. Signals are the image, spikes, and pools of these: multiples of a step
that's known when the graph is built. Currents are what weights make of signals, and pools of them: their grids depend
on the weights (docs/design.md, section 2).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from csnn_jax.config.grid import Grid, Group
from csnn_jax.config.operations import Convolution, Flatten, Linear, OneToOne, Pooling, Weighted
from csnn_jax.config.order import components
from csnn_jax.neurons.neuron import NEVER, Neurons

Operation = Convolution | Linear | OneToOne | Pooling | Flatten | Neurons
IMAGE = "image"
"""The node that every graph begins with."""


class Edge(NamedTuple):
    """An input of a node.

    Attributes:
        source: the node that it comes from.
        delay: how many steps later it arrives; before that, it's 0.
    """

    source: str
    delay: int = 0

    def __str__(self) -> str:
        return f"{self.source}@{self.delay}" if self.delay else self.source


class Signal(NamedTuple):
    """The grid of a signal: multiples of `step`, a power of two, from 0 to 2^`bits` of them."""

    bits: int = 0
    step: float = 1.0


class Current(NamedTuple):
    """What a current consists of: sums of values of a weighted node.

    Attributes:
        source: the weighted node.
        added: 2^added of its values are added.
        divided: the sum is divided by 2^divided.
    """

    source: str
    added: int = 0
    divided: int = 0


Currents = tuple[Current, ...]
"""The parts of a current, or of a sum of several."""


def added(values: Sequence[Signal | Currents]) -> Signal | Currents:
    """The grid of a sum of signals, or the parts of a sum of currents."""
    signals = [one for one in values if isinstance(one, Signal)]
    if not signals:
        parts = dict[Current, None]()
        for part in (part for one in values if not isinstance(one, Signal) for part in one):
            while part in parts:  # two equal parts are one of twice as many values
                del parts[part]
                part = part._replace(added=part.added + 1)
            parts[part] = None
        return tuple(parts)
    step = min(one.step for one in signals)
    most = sum(2**one.bits * round(one.step / step) for one in signals)
    return Signal((most - 1).bit_length(), step)


@dataclass(frozen=True)
class Node:
    """An operation in a graph.

    Attributes:
        name: `conv1`, `pool1`, `lif1`, `flatten3`, `fc1`, ...: the prefix of its parameters and of tensors in files.
        operation: what it computes; None: nothing, it's the image.
        inputs: the nodes that it reads; several are added, signals or currents.
        shape: of its output, without the batch: (rows, columns, channels) or (features,).
        values: the grid of a signal, or what a current consists of.
    """

    name: str
    operation: Operation | None
    inputs: tuple[Edge, ...]
    shape: tuple[int, ...] = ()
    values: Signal | Currents = field(default=Signal())

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
        kernel_shape: shape of its weights in this package's layout, [k, k, in, out], [in, out] or [out].
        grid: the grid of its weights, which `Graph.groups` rounds together with those that meet them in a sum.
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


@dataclass(frozen=True, eq=False)
class Graph:
    """A network's nodes by name, in the order of their execution; the first one is the image.

    Attributes:
        nodes: the nodes.
        groups: the names of weighted nodes whose products meet in a sum, with their common grid.
    """

    nodes: Mapping[str, Node]
    groups: Mapping[tuple[str, ...], Group] = field(default_factory=dict)

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
        """The longest delay with which each node is read whose earlier outputs must be stored.

        The spikes of the step before follow from the membranes, so they needn't be.
        """
        edges = [edge for node in self for edge in node.inputs if edge.delay and not self.is_previous(edge)]
        return {source: max(delay for one, delay in edges if one == source) for source, _ in edges}

    def is_previous(self, edge: Edge) -> bool:
        """Whether an input is the spikes of neurons in the step before."""
        return edge.delay == 1 and isinstance(self.nodes[edge.source], NeuronNode)

    @cached_property
    def recurrent(self) -> tuple[Node, ...]:
        """The nodes that read an earlier step."""
        return tuple(node for node in self if any(edge.delay for edge in node.inputs))

    @cached_property
    def is_chain(self) -> bool:
        """Whether each node reads the one before."""
        names = list(self.nodes)
        return all(node.inputs == (Edge(before),) for node, before in zip(self, names, strict=False))

    @cached_property
    def loops(self) -> dict[str, int]:
        """The cycle that each node is in, as a number; nodes in none have one of their own."""
        return loops(self.nodes)

    def path(self, node: Node) -> tuple[Node, ...]:
        """The nodes without state between the image or the neurons whose spikes a node reads, and this node."""
        names: set[str] = set()
        left = [node]
        while left:
            sources = (self.nodes[source] for source, _ in left.pop().inputs)
            left += (new := [one for one in sources if _is_computed(one) and one.name not in names])
            names.update(one.name for one in new)
        return tuple(one for one in self if one.name in names)

    def sources(self, neurons: Node) -> tuple[WeightedNode, ...]:
        """The nodes whose weights make the current of neurons, also through pools, in the order of the inputs."""
        ends = self._ends(neurons, lambda node: not isinstance(node, WeightedNode))
        nodes = (self.nodes[name] for name in dict.fromkeys(edge.source for edge in ends))
        return tuple(node for node in nodes if isinstance(node, WeightedNode))

    def _ends(self, node: Node, through: Callable[[Node], bool]) -> Iterator[Edge]:
        """Where the ways back from a node end, in the order of the inputs, each with the steps that it takes."""
        seen, left = set[Edge](), list(reversed(node.inputs))
        while left:
            if (edge := left.pop()) in seen:
                continue
            seen.add(edge)
            source = self.nodes[edge.source]
            if through(source):
                left += (Edge(one.source, one.delay + edge.delay) for one in reversed(source.inputs))
            else:
                yield edge

    def weights(self, neurons: NeuronNode) -> WeightedNode:
        """The node whose weights make the current of neurons that read only one."""
        (node,) = self.sources(neurons)
        return node

    def label(self, neurons: NeuronNode) -> str:
        """A layer's name in tables: in a chain its weights' (conv1, fc1), otherwise its neurons'."""
        return self.weights(neurons).name if self.is_chain else neurons.name

    def reads(self, node: Node) -> tuple[Edge, ...]:
        """The neurons whose spikes a node reads, directly or through nodes without state, or the image.

        Each comes with the steps that it takes; weights on the way count as nodes without state.
        """
        return tuple(self._ends(node, _is_computed))

    def origin(self, node: Node) -> Node:
        """The neurons whose spikes a node reads, or the image, if it reads only one."""
        (name,) = {edge.source for edge in self.reads(node)}
        return self.nodes[name]

    def delay(self, node: Node) -> int:
        """How many steps later the spikes of its `origin` arrive at a node, if they do so at one time."""
        (steps,) = {edge.delay for edge in self.reads(node)}
        return steps

    def entering(self, node: Node) -> tuple[int, ...]:
        """The shape of what a node reads, without the batch."""
        return self.nodes[node.inputs[0].source].shape

    def unflattened(self, node: WeightedNode) -> tuple[int, ...]:
        """The shape of a node's input before it was flattened, or as it is."""
        source = self.nodes[node.inputs[0].source]
        return self.entering(source) if isinstance(source.operation, Flatten) else source.shape

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
        """The neurons whose spikes the nodes of a kind read in the same step, in the order of these nodes."""
        edges = (edge for node in self if isinstance(node.operation, kind) for edge in self.reads(node))
        origins = dict.fromkeys(source for source, delay in edges if not delay)
        return tuple(self.nodes[name] for name in origins if name != IMAGE)

    @cached_property
    def droppable(self) -> frozenset[tuple[str, str]]:
        """(reader, neurons) where dropout drops spikes: on the way to linear layers in the same step."""
        pairs, left = set(), [node for node in self if isinstance(node.operation, Linear)]
        while left:
            node = left.pop()
            for source in (self.nodes[edge.source] for edge in node.inputs if not edge.delay):
                if isinstance(source, NeuronNode):
                    pairs.add((node.name, source.name))
                elif _is_computed(source):
                    left.append(source)
        return frozenset(pairs)

    def multiplies_spikes(self, node: WeightedNode) -> bool:
        """Whether a weighted node's inputs are the spikes of neurons, or maxima of them, so 0 or 1."""
        images = any(edge.source == IMAGE for edge in self.reads(node))
        return (node.grid.input_bits, node.grid.input_step) == Signal() and not images

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
        return Graph(changed, self.groups)


def _is_computed(node: Node) -> bool:
    """Whether a node has no state, and isn't the image."""
    return node.operation is not None and not isinstance(node, NeuronNode)


def loops(nodes: Mapping[str, Node]) -> dict[str, int]:
    """The cycle that each node is in, as a number; nodes in none have one of their own."""
    names = {name: number for number, name in enumerate(nodes)}
    edges = [(names[edge.source], names[node.name]) for node in nodes.values() for edge in node.inputs]
    if not any(edge.delay for node in nodes.values() for edge in node.inputs):
        return names
    return dict(zip(nodes, components(len(names), edges), strict=True))
