"""Simulates the network in torch, one step at a time, with every known difference between programs as an option.

With the defaults of `Network`, results are bit-identical to those in docs/design.md, section 2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from csnn_jax.config import ModelConfig
from csnn_jax.config.graph import IMAGE, Edge, Graph, Node, WeightedNode
from csnn_jax.neurons.neuron import MEMBRANE, Neurons, State, Values
from csnn_jax.runs.layouts import Tensors
from csnn_jax.window import Trace, joined
from csnn_torch.library import Torch
from csnn_torch.programs.cause import Moment, Step

Fires = Callable[[Tensor, Tensor], Tensor]
"""(membranes, threshold) -> the spikes of a step."""


def above(membrane: Tensor, threshold: Tensor) -> Tensor:
    """1 for membranes above the threshold, else 0."""
    return (membrane > threshold).to(membrane.dtype)


@dataclass(frozen=True, eq=False)
class Network:
    """A network, and how it's computed.

    Attributes:
        model: the stack.
        tensors: its parameters in torch's layouts, not necessarily on their grids.
        fires: decides when a neuron spikes.
        step: the step of all neurons.
        decays: converts beta, alpha etc. to the values it runs with.
        gain: factor of the input.
        delays: further steps of delay of the image, of spikes, and of recurrent and delayed connections.
        late_bias: whether the biases of recurrent and delayed connections are missing in the first step.
        dtype: dtype of everything.
    """

    model: ModelConfig
    tensors: Tensors
    fires: Fires = above
    step: Step = Moment.step
    decays: Callable[[Any], Any] = lambda decay: decay
    gain: float = 1.0
    delays: tuple[int, int, int] = (0, 0, 0)
    late_bias: bool = False
    dtype: torch.dtype = torch.float32


class _Library(Torch):
    """Torch with the neurons of a network."""

    def __init__(self, network: Network):
        super().__init__(network.dtype)
        self._network = network
        self.is_first = True

    def fired(self, membrane: Tensor, threshold: Tensor) -> Tensor:
        """The spikes of a membrane."""
        return self._network.fires(membrane, threshold)

    def value(self, node: Node, name: str, value: Any) -> Tensor:
        """A neuron's parameter as the network runs with it."""
        assert isinstance(node.operation, Neurons)
        decays = node.operation.kind.parameters[name].decays
        return super().value(node, name, self._network.decays(value) if decays else value)

    def evaluate(self, node: Node, parameters: Values, x: Any) -> Tensor:
        """The output of a node without state."""
        output = super().evaluate(node, parameters, x)
        late = self._network.late_bias and self.is_first and isinstance(node, WeightedNode)
        return 0 * output if late and is_late(self._network.model.graph, node) else output

    def fire(self, node: Node, own: Values, state: State, currents: tuple[Tensor, ...]) -> tuple[State, Tensor]:
        """The network's step of neurons."""
        neurons = node.operation
        assert isinstance(neurons, Neurons)
        after = self._network.step(Moment(neurons.kind, self, own, state, currents, neurons.reset))
        after = {name: value.to(self.dtype) for name, value in after.items()}
        return after, self.fired(after[MEMBRANE], neurons.kind.threshold(own, after))


@torch.no_grad()
def simulate(network: Network, x: Tensor) -> Trace:
    """Runs a window; an integrator has no spikes and never resets.

    Args:
        network: the network, and how it's computed.
        x: inputs [time, batch, C, H, W].
    """
    library, graph = _Library(network), _delayed(network)
    x = x.to(network.dtype) * network.gain
    image = (x == x[:1]).all()  # a constant image is convolved only once
    steps = library.run(graph, library.parameters(graph, network.tensors), x[0] if image else x, len(x))
    spiking = [node.name for node in network.model.graph.spiking]
    traces = []
    for one in steps:
        traces.append(Trace(one.states, {name: one.values[name] for name in spiking}))
        library.is_first = False
    return joined(traces, lambda arrays: torch.stack(arrays).numpy())


def _delayed(network: Network) -> Graph:
    """The network's graph with its further delays, from the image or spikes to what reads them."""
    first, later, back = network.delays
    graph = network.model.graph
    edges = {Edge(IMAGE): Edge(IMAGE, first)} | {Edge(node.name): Edge(node.name, later) for node in graph.neurons}
    late = (edge for node in graph.recurrent for edge in node.inputs if edge.delay)
    return graph.delayed(edges | {edge: Edge(edge.source, edge.delay + back) for edge in late})


def is_late(graph: Graph, node: Node) -> bool:
    """Whether all spikes that a node reads come from earlier steps."""
    return all(edge.delay for edge in graph.reads(node))
