"""Runs a network's graph over a window, step by step, in any array library.

`Library` is what an array library has to provide. A program whose neurons differ is a library with another `fire`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from csnn_jax.config.graph import IMAGE, Convolution, Flatten, Graph, Linear, Node, Pooling
from csnn_jax.neurons.neuron import MEMBRANE, Neurons, State, Values

Parameters = Mapping[str, Values]
"""The parameters of each node by its name, and then by theirs: `weight`, `bias`, `beta`, ..."""


class Carry(NamedTuple):
    """What a step needs from the steps before it.

    Attributes:
        states: the states of neurons by node.
        past: the latest outputs of nodes that are read with a delay, the last step's first.
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


class Library(ABC):
    """An array library's operations. Those of a neuron's step are described in `csnn_jax.neurons.neuron`."""

    @abstractmethod
    def convolution(self, operation: Convolution, own: Values, x: Any) -> Any:
        """A convolution with the node's `weight` and `bias`."""

    @abstractmethod
    def linear(self, own: Values, x: Any) -> Any:
        """A product with the node's `weight` and `bias`."""

    @abstractmethod
    def pool(self, operation: Pooling, own: Values, x: Any) -> Any:
        """Pooling."""

    @abstractmethod
    def flatten(self, x: Any) -> Any:
        """Positions and channels as features, in the library's order."""

    @abstractmethod
    def fired(self, membrane: Any, threshold: Any) -> Any:
        """Where a membrane is above the threshold."""

    @abstractmethod
    def masked(self, fired: Any, x: Any) -> Any:
        """x where a neuron fired, otherwise 0."""

    @abstractmethod
    def decayed(self, factor: Any, x: Any) -> Any:
        """The product, rounded before anything is added to it."""

    def fire(self, node: Node, own: Values, state: State, current: Any) -> tuple[State, Any]:
        """A step of neurons: (state after it, spikes)."""
        neurons = node.operation
        assert isinstance(neurons, Neurons)
        after = neurons.kind.step(self, own, state, current, neurons.reset)
        return after, self.fired(after[MEMBRANE], neurons.kind.threshold(own, after))

    def evaluate(self, node: Node, own: Values, x: Any) -> Any:
        """The output of a node without state."""
        match node.operation:
            case Convolution():
                return self.convolution(node.operation, own, x)
            case Linear():
                return self.linear(own, x)
            case Pooling():
                return self.pool(node.operation, own, x)
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
    return Carry(states, {name: (zeros(graph[name]),) * delay for name, delay in graph.delays.items()})


def constants(graph: Graph, library: Library, parameters: Parameters, image: Any) -> dict[str, Any]:
    """The outputs of the nodes that depend only on the image, if it's the same at every step."""
    known = {IMAGE: image}
    for name in graph.constant:
        node = graph[name]
        known[name] = library.evaluate(node, parameters.get(name, {}), known[graph.source(node).name])
    return known


def step(
    graph: Graph, library: Library, parameters: Parameters, carry: Carry, known: Mapping[str, Any]
) -> tuple[Carry, Step]:
    """One time step.

    Args:
        graph: the network.
        library: the array library.
        parameters: of the nodes, in the library's types and layouts.
        carry: the result of `start` or of the step before.
        known: the outputs of some nodes, such as the image.
    """
    values, states = dict(known), {}
    for node in graph:
        if node.name in values:
            continue
        ((source, delay),) = node.inputs
        x = carry.past[source][delay - 1] if delay else values[source]
        own = parameters.get(node.name, {})
        if isinstance(node.operation, Neurons):
            states[node.name], values[node.name] = library.fire(node, own, carry.states[node.name], x)
        else:
            values[node.name] = library.evaluate(node, own, x)
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
