"""A network of snnTorch's modules that runs on rounded weights."""

import functools
import operator
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from csnn_jax.config import Grid
from csnn_jax.config.graph import IMAGE, Graph
from csnn_jax.config.operations import Linear

Result = TypeVar("Result")


class Network(nn.Sequential):
    """Runs with weights and biases rounded to their grids, so all sums are exact (docs/design.md, section 2).

    The parameters themselves stay unrounded, and gradients pass through the rounding unchanged. Modules have the names
    of the graph's nodes. In a chain they're called in order; otherwise each gets the outputs of the nodes that its own
    reads, where several currents of neurons are added.

    Attributes:
        graph: the network's graph.
        rounds: whether weights are rounded.
    """

    def __init__(self, modules: Mapping[str, nn.Module], graph: Graph):
        super().__init__(OrderedDict(modules))
        self.graph, self.rounds = graph, True
        for _, module, grid in self.weighted:
            if grid.chosen:
                module.exponents = nn.Parameter(module.weight.new_zeros(len(module.weight)), requires_grad=False)
        self.choose_exponents()

    def forward(self, x: torch.Tensor) -> Any:
        return exactly(self, lambda: super(Network, self).forward(x) if self.graph.is_chain else self.step(x, {}))

    def constants(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The outputs of the nodes that depend only on the image, by name."""
        modules, values = dict(self.named_children()), {IMAGE: x}
        for name in self.graph.constant:
            values[name] = modules[name](values[self.graph.source(self.graph[name]).name])
        return values

    def step(self, x: torch.Tensor, known: Mapping[str, torch.Tensor]) -> Any:
        """A step of any network, where the outputs of some nodes may be known; doesn't round weights."""
        modules, values = dict(self.named_children()), {IMAGE: x, **known}
        for node in self.graph:
            if node.name in known:
                continue
            inputs = [self._earlier(source, len(x)) if delay else values[source] for source, delay in node.inputs]
            output = modules[node.name](functools.reduce(operator.add, inputs))
            values[node.name] = output[0] if isinstance(output, tuple) else output
        return output

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
    """Multiplies the input spikes of linear layers by masks.

    Args:
        network: as returned by `sequential`.
        masks: factors of the spikes for each linear layer with spikes as input [batch, *shape of the spikes].
    """

    def hook(mask: torch.Tensor) -> Callable[..., torch.Tensor]:
        return lambda module, inputs: inputs[0] * mask

    by_name = dict(zip((node.name for node in network.graph.feeding(Linear)), masks, strict=True))
    handles = [
        network.get_submodule(reader).register_forward_pre_hook(hook(by_name[source]))
        for reader, source in network.graph.droppable
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
