"""A network of snnTorch's modules that runs on rounded weights."""

import functools
import operator
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from csnn_jax.config import Grid
from csnn_jax.config.graph import IMAGE, Edge, Graph, Node
from csnn_jax.config.operations import Linear

Result = TypeVar("Result")


class Network(nn.Sequential):
    """Runs with weights and biases rounded to their grids, so all sums are exact (docs/design.md, section 2).

    The parameters themselves stay unrounded, and gradients pass through the rounding unchanged. Modules have the names
    of the graph's nodes. In a chain they're called in order; otherwise each gets the sum of the outputs that its node
    reads.

    Attributes:
        graph: the network's graph.
        rounds: whether weights are rounded.
        past: the latest outputs of the nodes in `Graph.delays`, the last step's first; empty before the first step.
        dropped: dropout's factors by (reader, neurons), see `dropping`.
    """

    def __init__(self, modules: Mapping[str, nn.Module], graph: Graph):
        super().__init__(OrderedDict(modules))
        self.graph, self.rounds = graph, True
        self.past, self.dropped = dict[str, tuple[torch.Tensor, ...]](), dict[tuple[str, str], torch.Tensor]()
        self._last_membrane: torch.Tensor | None = None
        for _, module, grid in self.weighted:
            if grid.chosen:
                module.exponents = nn.Parameter(module.weight.new_zeros(len(module.weight)), requires_grad=False)
        self.choose_exponents()

    def forward(self, x: torch.Tensor) -> Any:
        return exactly(self, lambda: super(Network, self).forward(x) if self.is_plain else self.step(x, {}))

    @property
    def is_plain(self) -> bool:
        """Whether calling the modules in order computes a step."""
        return self.graph.is_chain and not self.dropped

    def constants(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The outputs of the nodes that depend only on the image, by name."""
        modules, values = dict(self.named_children()), {IMAGE: x}
        for name in self.graph.constant:
            values[name] = modules[name](_sum(values[source] for source, _ in self.graph[name].inputs))
        return values

    def step(self, x: torch.Tensor, known: Mapping[str, torch.Tensor]) -> Any:
        """A step of any network, where the outputs of some nodes may be known; doesn't round weights."""
        modules, values = dict(self.named_children()), {IMAGE: x, **known}
        first: Any = modules[self.graph.neurons[0].name]
        if first.mem is not self._last_membrane and not first.mem.any():
            self.past = {}  # snnTorch cleared the neurons
        past = {name: self._past(name, delay, x) for name, delay in self.graph.delays.items()}
        edges = {edge for node in self.graph.recurrent for edge in node.inputs if self.graph.is_previous(edge)}
        earlier = {edge: self._earlier(edge.source, len(x)) for edge in edges}  # before any neuron takes its step

        def read(reader: Node, edge: Edge) -> torch.Tensor:
            if edge in earlier:
                return earlier[edge]
            if edge.delay:
                return past[edge.source][edge.delay - 1]
            output, place = values[edge.source], (reader.name, edge.source)
            return output * self.dropped[place] if place in self.dropped else output

        for node in self.graph:
            if node.name in known:
                continue
            output = modules[node.name](_sum(read(node, edge) for edge in node.inputs))
            values[node.name] = output[0] if isinstance(output, tuple) else output
        self.past = {name: (values[name], *outputs[:-1]) for name, outputs in past.items()}
        self._last_membrane = first.mem
        return output

    def _past(self, name: str, delay: int, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A node's latest outputs; before the first step, these are 0."""
        zeros = x.new_zeros((len(x), *self.graph[name].channels_first))
        outputs = self.past.get(name, (zeros,) * delay)
        return outputs if len(outputs[0]) == len(x) else (zeros,) * delay

    def _earlier(self, name: str, batch: int) -> torch.Tensor:
        """The spikes of neurons in the step before, from their membranes; before the first step, these are 0."""
        neuron: Any = self.get_submodule(name)
        shape = (batch, *self.graph[name].channels_first)
        return neuron.fire(neuron.mem if neuron.mem.shape == shape else neuron.threshold.new_zeros(shape))

    @property
    def weighted(self) -> list[tuple[str, Any, Grid]]:
        """Every module with weights: its name, the module, and its grid."""
        return [(node.name, self.get_submodule(node.name), node.grid) for node in self.graph.weighted]

    @torch.no_grad()
    def choose_exponents(self) -> None:
        """Sets the exponents of grids from the current weights, see `Grid.choose`."""
        for _, module, grid in self.weighted:
            if grid.chosen:
                weight, bias = _detached(module)
                module.exponents.copy_(grid.choose(weight, bias, torch, torch.sum))


def exactly(network: nn.Sequential, call: Callable[[], Result]) -> Result:
    """Calls a function that runs the network's modules, with rounded weights during the call.

    Use it for a window of many steps, because calling the network itself rounds at every step. Without grids, as in
    other `nn.Sequential`s, the weights aren't rounded.
    """
    weights = {f"network.{name}": value for name, value in _rounded(network).items()}
    return torch.func.functional_call(_Call(network, call), weights, (), tie_weights=False)


@contextmanager
def dropping(network: Network, masks: Sequence[torch.Tensor]) -> Iterator[None]:
    """Multiplies the spikes that enter linear layers by masks in every `step`.

    Args:
        network: as returned by `sequential`.
        masks: factors of the spikes of `network.graph.feeding(Linear)` [batch, *shape of the spikes].
    """
    by_name = dict(zip((node.name for node in network.graph.feeding(Linear)), masks, strict=True))
    network.dropped = {(reader, source): by_name[source] for reader, source in network.graph.droppable}
    try:
        yield
    finally:
        network.dropped = {}


def _sum(inputs: Iterable[torch.Tensor]) -> torch.Tensor:
    return functools.reduce(operator.add, inputs)


class _Call(nn.Module):
    """Wraps a function and the network in a module, for `functional_call`."""

    def __init__(self, network: nn.Sequential, call: Callable[[], Any]):
        super().__init__()
        self.network, self.call = network, call

    def forward(self) -> Any:
        return self.call()


class _StraightThrough(torch.autograd.Function):
    """The rounded value, with the gradient of the value itself."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
        return rounded.view_as(rounded)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None


def _rounded(network: nn.Sequential) -> dict[str, torch.Tensor]:
    """Weights and biases on their grids, by parameter name; empty for a network without grids."""
    rounded: dict[str, torch.Tensor] = {}
    if not isinstance(network, Network) or not network.rounds:
        return rounded
    weighted = {name: (module, grid) for name, module, grid in network.weighted}
    for names, group in network.graph.groups.items():
        modules = [weighted[name] for name in names]
        exponents = [module.exponents.to(torch.int32) if grid.chosen else None for module, grid in modules]
        on_grid = group.round([_detached(module) for module, _ in modules], torch, exponents)
        for name, (module, _), (kernel, biases) in zip(names, modules, on_grid, strict=True):
            weight = kernel.movedim(-1, 0).contiguous()
            rounded[f"{name}.weight"] = _StraightThrough.apply(module.weight, weight)
            if module.bias is not None:
                rounded[f"{name}.bias"] = _StraightThrough.apply(module.bias, biases)
    return rounded


def _detached(module: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [..., out] and biases [out] of a module; zeros if it has no bias."""
    weight = module.weight.detach()
    bias = weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach()
    return weight.movedim(0, -1), bias
