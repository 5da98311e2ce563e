"""Runs a network's graph over a window, step by step, in any array library, and records what it gives.

`Library` is what an array library has to provide. A program whose neurons differ is a library with another `fire`.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

from csnn_jax.config.graph import IMAGE, Edge, Graph, Node
from csnn_jax.config.operations import Convolution, Flatten, Linear, OneToOne, Pooling
from csnn_jax.neurons.neuron import MEMBRANE, Neurons, Operations, State, Values

if TYPE_CHECKING:  # importing it would make every import chain longer
    from csnn_jax.config import ModelConfig

Parameters = Mapping[str, Values]
"""The parameters of each node by its name, and then by its own: `weight`, `bias`, `beta`, ..."""


Dropped = Mapping[tuple[str, str], Any]
"""Dropout's factors of spikes [batch, *shape], by the node that reads them and the neurons, see `Graph.droppable`."""


class Carry(NamedTuple):
    """What a step needs from the steps before it.

    Attributes:
        states: the states of neurons by node.
        past: the latest outputs of nodes in `Graph.delays`, the last step's first.
    """

    states: dict[str, State]
    past: dict[str, tuple[Any, ...]]


class Step(NamedTuple):
    """A step's results.

    Attributes:
        values: the outputs of all nodes by name; those of neurons are their spikes.
        states: the states of neurons after the step by node, before the reset by their own spikes.
    """

    values: dict[str, Any]
    states: dict[str, State]


class ByNode(dict[str, Any]):
    """Values by the name of their node. A KeyError for another name lists the nodes."""

    def __missing__(self, name: str) -> Any:
        raise KeyError(f"{name}: expected one of {', '.join(self)}")


class Trace(NamedTuple):
    """What neurons did in a window: arrays [time, batch, *shape] in the layout of the library in use.

    Nodes whose states or spikes a program doesn't show are missing.

    Attributes:
        states: the states after each step by node and name, with membranes before the reset by their own spikes.
        spikes: by node, 0 or 1; some programs spike several times in a step.
    """

    states: dict[str, State]
    spikes: dict[str, Any]

    @property
    def membranes(self) -> dict[str, Any]:
        """The membranes by node."""
        return ByNode({node: state[MEMBRANE] for node, state in self.states.items() if MEMBRANE in state})

    def map(self, function: Callable[[Any], Any]) -> "Trace":
        """The results of a function for each array."""
        return joined([self], lambda arrays: function(arrays[0]))

    def ordered(self, graph: Graph) -> "Trace":
        """The same with the nodes in the graph's order, because JAX sorts them by name."""
        names = [node.name for node in graph.neurons]
        return Trace(*({name: by_node[name] for name in names if name in by_node} for by_node in self))


class SpikeCounts(NamedTuple):
    """Sums over the window, for accuracy and densities: the class scores, and how often each layer spiked.

    Attributes:
        scores: per image and class [batch, classes]: number of output spikes, or the sum of the output membranes if the
            network's readout is the membrane.
        fired: spikes per image and layer [batch, layers].
    """

    scores: Any
    fired: Any


def joined(parts: Iterable[Trace], join: Callable[[list[Any]], Any]) -> Trace:
    """One trace from those of steps, or of batches.

    Args:
        parts: the traces, in order.
        join: joins their arrays for a node.
    """
    states, spikes = zip(*parts, strict=True)
    by_node = {
        node: {name: join([part[node][name] for part in states]) for name in state} for node, state in states[0].items()
    }
    return Trace(by_node, {node: join([part[node] for part in spikes]) for node in spikes[0]})


def output(config: "ModelConfig", states: Mapping[str, State], spikes: Mapping[str, Any]) -> Any:
    """What the class is read from: the last neurons' spikes, or their membranes."""
    last = config.graph.neurons[-1].name
    return states[last][MEMBRANE] if config.readout == "membrane" else spikes[last]


def summed(steps: Any) -> Any:
    """The sum over the first axis, step by step in every library, because sums of membranes round."""
    return reduce(operator.add, steps)


class Library(Operations, ABC):
    """An array library's operations."""

    @abstractmethod
    def convolution(self, operation: Convolution, parameters: Values, x: Any) -> Any:
        """A convolution with the node's `weight` and `bias`."""

    @abstractmethod
    def linear(self, parameters: Values, x: Any) -> Any:
        """A product with the node's `weight` and `bias`."""

    def one_to_one(self, parameters: Values, x: Any) -> Any:
        """The product of each feature with its own `weight`, plus its `bias`."""
        return x * parameters["weight"] + parameters["bias"]

    @abstractmethod
    def pool(self, operation: Pooling, parameters: Values, x: Any) -> Any:
        """Pooling."""

    @abstractmethod
    def flatten(self, x: Any) -> Any:
        """Positions and channels as features, in the library's order."""

    def fire(self, node: Node, parameters: Values, state: State, currents: tuple[Any, ...]) -> tuple[State, Any]:
        """A step of neurons: (state after it, spikes)."""
        neurons = node.operation
        assert isinstance(neurons, Neurons)
        after = neurons.kind.step(self, parameters, state, currents, neurons.reset)
        return after, self.spikes(node, parameters, after)

    def spikes(self, node: Node, parameters: Values, state: State) -> Any:
        """The spikes of neurons in the step after which they have a state."""
        neurons = node.operation
        assert isinstance(neurons, Neurons)
        return self.fired(state[MEMBRANE], neurons.kind.threshold(parameters, state))

    def evaluate(self, node: Node, parameters: Values, x: Any) -> Any:
        """The output of a node without state."""
        match node.operation:
            case Convolution():
                return self.convolution(node.operation, parameters, x)
            case Linear():
                return self.linear(parameters, x)
            case OneToOne():
                return self.one_to_one(parameters, x)
            case Pooling():
                return self.pool(node.operation, parameters, x)
            case Flatten():
                return self.flatten(x)
        raise AssertionError(node)


def start(graph: Graph, zeros: Callable[[Node], Any]) -> Carry:
    """What the first step needs.

    Args:
        graph: the network.
        zeros: makes zeros of the shape of a node's output.
    """
    states = {
        node.name: {name: zeros(node) for name in node.operation.kind.states}
        for node in graph.neurons
        if isinstance(node.operation, Neurons)
    }
    past = {name: tuple(zeros(graph[name]) for _ in range(delay)) for name, delay in graph.delays.items()}
    return Carry(states, past)  # streams donate each array, so none may come twice


def constants(graph: Graph, library: Library, parameters: Parameters, image: Any) -> dict[str, Any]:
    """The outputs of the nodes that depend only on the image, if it's the same at every step."""
    known = {IMAGE: image}
    for name in graph.constant:
        entering = reduce(operator.add, (known[source] for source, _ in graph[name].inputs))
        known[name] = library.evaluate(graph[name], parameters.get(name, {}), entering)
    return known


def step(
    graph: Graph,
    library: Library,
    parameters: Parameters,
    carry: Carry,
    known: Mapping[str, Any],
    dropped: Dropped | None = None,
) -> tuple[Carry, Step]:
    """One time step.

    Args:
        graph: the network.
        library: the array library.
        parameters: of the nodes, in the library's types and layouts.
        carry: the result of `start` or of the step before.
        known: the outputs of some nodes, such as the image.
        dropped: None: no dropout.
    """
    values, states = dict(known), {}

    def read(reader: Node, edge: Edge) -> Any:
        if graph.is_previous(edge):
            source = graph[edge.source]
            return library.spikes(source, parameters.get(source.name, {}), carry.states[source.name])
        if edge.delay:
            return carry.past[edge.source][edge.delay - 1]
        x, place = values[edge.source], (reader.name, edge.source)
        return x * dropped[place] if dropped and place in dropped else x

    for node in graph:
        if node.name in values:
            continue
        entering = [read(node, edge) for edge in node.inputs]
        of_node = parameters.get(node.name, {})
        if isinstance(node.operation, Neurons):
            currents = tuple(entering) if node.operation.separate else (reduce(operator.add, entering),)
            states[node.name], values[node.name] = library.fire(node, of_node, carry.states[node.name], currents)
        else:
            values[node.name] = library.evaluate(node, of_node, reduce(operator.add, entering))
    past = {name: (values[name], *outputs[:-1]) for name, outputs in carry.past.items()}
    return Carry(states, past), Step(values, states)


def window(
    graph: Graph, library: Library, parameters: Parameters, carry: Carry, x: Any, time_steps: int
) -> Iterator[Step]:
    """The steps of a window.

    Args:
        graph: the network.
        library: the array library.
        parameters: as in `step`.
        carry: the result of `start`, for the batch of x.
        x: an image [batch, ...] for every step, or a sequence [time, batch, ...].
        time_steps: length of the window for an image.
    """
    sequence = x.ndim > 1 + len(graph[IMAGE].shape)
    known = {} if sequence else constants(graph, library, parameters, x)
    for frame in x if sequence else range(time_steps):
        carry, result = step(graph, library, parameters, carry, {IMAGE: frame} if sequence else known)
        yield result
