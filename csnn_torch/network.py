"""A sequence of snnTorch's modules that runs on rounded weights."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import snntorch as snn
import torch
from torch import nn

from csnn_jax.config import Grid

Result = TypeVar("Result")


class Network(nn.Sequential):
    """Runs with weights and biases rounded to their grids, so all sums are exact (docs/design.md, section 2).

    The parameters themselves stay unrounded, and gradients pass through the rounding unchanged.

    Attributes:
        grids: one for each layer with weights; if empty, weights aren't rounded.
    """

    def __init__(self, modules: Mapping[str, nn.Module], grids: Sequence[Grid]):
        super().__init__(OrderedDict(modules))
        self.grids = tuple(grids)
        for _, module, grid in self.weighted:
            if grid.chosen:
                module.exponents = nn.Parameter(module.weight.new_zeros(len(module.weight)), requires_grad=False)
        self.choose_exponents()

    def forward(self, x: torch.Tensor) -> Any:
        return exactly(self, lambda: super(Network, self).forward(x))

    @property
    def weighted(self) -> list[tuple[str, Any, Grid]]:
        """Every module with weights: its name, the module, and its grid; empty for a network without grids."""
        modules = [named for named in self.named_children() if isinstance(named[1], (nn.Conv2d, nn.Linear))]
        return [(*named, grid) for named, grid in zip(modules, self.grids, strict=True)] if self.grids else []

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
def dropping(network: nn.Sequential, masks: Sequence[torch.Tensor]) -> Iterator[None]:
    """Multiplies the input spikes of linear layers by masks.

    Args:
        network: as returned by `sequential`.
        masks: factors of the spikes for each linear layer with spikes as input [batch, *shape of the spikes].
    """
    modules = list(network)
    spiking = [number for number, module in enumerate(modules) if isinstance(module, snn.SpikingNeuron)]
    taking = [modules[number + 1] for number in spiking[-1 - len(masks) : -1]]  # a pool, Flatten or Linear

    def hook(mask: torch.Tensor) -> Callable[..., torch.Tensor]:
        return lambda module, inputs: inputs[0] * mask

    pairs = zip(taking, masks, strict=True)
    handles = [module.register_forward_pre_hook(hook(mask)) for module, mask in pairs]
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
    for name, module, grid in network.weighted if isinstance(network, Network) else ():
        exponents = module.exponents.to(torch.int32) if grid.chosen else None
        kernel, biases = grid.round(*_detached(module), torch, exponents)
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
