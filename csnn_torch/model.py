"""The network as snnTorch users write it: an `nn.Sequential` of convolutions, pools, linear layers and neurons.

Its input x is an image [batch, channels, height, width], presented at every step, or a sequence
[time, batch, channels, height, width].
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat

import numpy as np
import snntorch as snn
import torch
from torch import nn

from csnn_jax.config import NEVER, ModelConfig, Neurons, Pooling, Readout, operations
from csnn_jax.config.graph import Node, WeightedNode
from csnn_jax.config.operations import Convolution, Flatten, Linear
from csnn_jax.errors import UserError
from csnn_jax.neurons import NEURONS
from csnn_jax.neurons.neuron import Reset
from csnn_jax.runs.layouts import Tensors
from csnn_jax.window import SpikeCounts, Trace, joined, summed
from csnn_torch.network import Network, exactly
from csnn_torch.surrogates import spike_function

_RESETS: tuple[Reset, ...] = ("subtract", "zero", "none")
"""The resets of snnTorch's Leaky and Synaptic."""


def sequential(config: ModelConfig, dtype: torch.dtype = torch.float32) -> Network:
    """The network in the form of snnTorch's tutorials: state hidden in the layers, output (spikes, membrane).

    A call with one step's image [batch, channels, height, width] advances it by one step; `reset` clears the state.
    Making it turns off TF32 in this process: weights have more than TF32's 10 bits, and cuDNN uses it by default.

    Raises:
        UserError: snnTorch doesn't have these neurons.
    """
    for node in config.graph.neurons:
        neurons = node.operation
        if reason := neurons.kind.lacks("snntorch"):
            raise UserError(f"--neuron {neurons.kind}: {reason}")
        if neurons.reset not in _RESETS:
            where = "" if config.network is None else f" of {node.name}"
            raise UserError(f"--reset {neurons.reset}{where}: snnTorch doesn't support it, expected csnn_jax.train")
        if neurons.separate:
            raise UserError(f"{node.name} adds its inputs one by one (separate), which the snnTorch companion doesn't")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    modules = {node.name: _module(node, config, dtype) for node in config.graph}
    return Network(modules, config.graph).to(dtype)


class OneToOne(nn.Module):
    """Multiplies each feature by its own weight, as snnTorch's RLeaky does with V.

    Attributes:
        weight: [features].
        bias: [features], or None.
    """

    def __init__(self, features: int, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features).uniform_(-1, 1))
        self.bias = nn.Parameter(torch.empty(features).uniform_(-1, 1)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product = x * self.weight
        return product if self.bias is None else product + self.bias


class SumPool2d(nn.AvgPool2d):
    """Sums every window of size x size pixels: the average times the number of pixels, a power of two.

    Attributes:
        pixels: that number.
    """

    pixels: torch.Tensor

    def __init__(self, size: int, stride: int):
        super().__init__(size, stride)
        self.register_buffer("pixels", torch.tensor(float(size**2)), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.pixels


_POOLS: dict[str, Callable[[int, int], nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d, "sum": SumPool2d}


def _module(node: Node, config: ModelConfig, dtype: torch.dtype) -> nn.Module:
    """The module of a node."""
    inputs = node.kernel_shape[-2] if isinstance(node, WeightedNode) and len(node.kernel_shape) > 1 else 0
    match node.operation:
        case Convolution(channels, kernel, stride, padding, bias):
            return nn.Conv2d(inputs, channels, kernel, stride, padding, bias=bias)
        case Linear(channels, bias):
            return nn.Linear(inputs, channels, bias)
        case operations.OneToOne(channels, bias):
            return OneToOne(channels, bias)
        case Pooling(kind, size, stride):
            return _POOLS[kind](size, stride)
        case Flatten():
            return nn.Flatten()
    assert isinstance(node.operation, Neurons)
    return _neurons(node.operation, len(node.shape), config, dtype, output=node is config.graph.neurons[-1])


def _neurons(neurons: Neurons, rank: int, config: ModelConfig, dtype: torch.dtype, output: bool) -> snn.SpikingNeuron:
    """A layer's neurons. Unlearned values per channel are parameters without a gradient, because files store them."""
    values = {name: torch.tensor(value, dtype=dtype) for name, value in neurons.configured}
    wide = (neurons.channels, *[1] * (rank - 1))
    made = getattr(snn, neurons.kind.name.capitalize())(
        **{name: value.repeat(wide) if name in neurons.per_channel else value for name, value in values.items()},
        **{f"learn_{name}": name in neurons.stored for name in values},
        spike_grad=spike_function(config, dtype),
        reset_mechanism=neurons.reset,
        init_hidden=True,
        output=output,
    )
    for name in neurons.stored:
        getattr(made, name).requires_grad_(name in neurons.learned)
    return made


def neurons(network: nn.Sequential) -> list[snn.SpikingNeuron]:
    """The network's layers of neurons, in order."""
    return [module for module in network if isinstance(module, snn.SpikingNeuron)]


def _parameters(network: nn.Sequential) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters by their names in `weights.safetensors`, in its order, which is alphabetical for neurons."""
    for node, module in network.named_children():
        named = list(module.named_parameters())
        yield from (
            (f"{node}.{name}", parameter)
            for name, parameter in (sorted(named) if isinstance(module, snn.SpikingNeuron) else named)
        )


def tensors(network: nn.Sequential) -> Tensors:
    """The parameters as in `weights.safetensors`, NumPy arrays."""
    return {name: _plain(parameter.detach()) for name, parameter in _parameters(network)}


def _plain(values: torch.Tensor) -> np.ndarray:
    """A copy of values in the layout of files; a convolution's neurons have [channels, 1, 1] in snnTorch."""
    array = values.cpu().numpy().copy()
    return array.reshape(-1) if array.ndim == 3 else array


def kernels(network: nn.Sequential) -> list[torch.Tensor]:
    """The weights of the convolutions and linear layers, in order."""
    return [module.weight for module in network if isinstance(module, (nn.Conv2d, nn.Linear, OneToOne))]


def gradients(network: nn.Sequential) -> Tensors:
    """The parameters' gradients after a backward pass, named and laid out as in `tensors`; zeros if missing."""
    learned = {name: one for name, one in _parameters(network) if one.requires_grad}  # without exponents of grids
    return {name: _plain(torch.zeros_like(one) if one.grad is None else one.grad) for name, one in learned.items()}


def load_tensors(network: nn.Sequential, tensors: Tensors) -> None:
    """Sets the parameters of a `sequential` network from the tensors of a `weights.safetensors`, keeping its dtype.

    Raises:
        ValueError: the tensors don't match the network; nothing is changed.
    """
    expected = dict(_parameters(network))
    for name in sorted(expected.keys() ^ tensors.keys()):
        missing = "is missing" if name in expected else "isn't a tensor of this network"
        raise ValueError(f"{name} {missing}, expected {', '.join(expected)}")
    for name, parameter in expected.items():
        if tensors[name].shape != (expects := _plain(parameter.detach()).shape):
            raise ValueError(f"{name} has shape {list(tensors[name].shape)}, expected {list(expects)}")
    with torch.no_grad():
        for name, parameter in expected.items():
            parameter.copy_(torch.tensor(tensors[name]).reshape(parameter.shape))


def reset(network: nn.Sequential) -> None:
    """Clears the state of this network. (snnTorch's `utils.reset` clears every network of the process.)"""
    for neuron in neurons(network):
        neuron.reset_mem()


def check_input(network: nn.Sequential, x: torch.Tensor, time_steps: int) -> None:
    """Raises ValueError unless x is a valid input; torch itself checks what depends on the layers."""
    if not isinstance(x, torch.Tensor):
        raise ValueError(f"x is of type {type(x).__name__}, expected a torch.Tensor")
    if x.ndim not in (4, 5) or 0 in x.shape:
        raise ValueError(f"x is {list(x.shape)}, expected [batch, C, H, W] or [time, batch, C, H, W]")
    if x.dtype != (dtype := next(network.parameters()).dtype):
        raise ValueError(f"x is {x.dtype}, expected {dtype}, the network's dtype (divide images of bytes by 256)")
    if x.ndim == 4 and time_steps < 1:
        raise ValueError(f"time_steps is {time_steps}, expected at least 1")


def forward(network: nn.Sequential, x: torch.Tensor, time_steps: int) -> torch.Tensor:
    """The tutorials' forward pass.

    Args:
        network: as returned by `sequential`; other networks run with unrounded weights.
        x: one image [batch, C, H, W], presented `time_steps` times, or a sequence [time, batch, C, H, W].
        time_steps: number of steps for an image; a sequence has its own.

    Returns:
        Output spikes [time, batch, classes], or the membranes of an integrator, which never spikes.

    Raises:
        ValueError: x has the wrong type or rank or is empty, or there are no steps.
    """
    integrates = bool((neurons(network)[-1].threshold == NEVER).all())
    return output_of(network, x, time_steps, "membrane" if integrates else "spikes")


def output_of(
    network: nn.Sequential, x: torch.Tensor, time_steps: int, reads: Readout, once: bool = False
) -> torch.Tensor:
    """The output's spikes or membranes [time, batch, classes] over the window; see `forward`.

    Weights are rounded once for the window. With `once`, what depends only on a constant image is computed before
    the loop.
    """
    check_input(network, x, time_steps)
    reset(network)
    place, modules, hoists = -1 if reads == "membrane" else 0, list(network), once and x.ndim == 4
    first = next(number for number, module in enumerate(modules) if isinstance(module, snn.SpikingNeuron))
    split = first if hoists else 0
    before, after = nn.Sequential(*modules[:split]), nn.Sequential(*modules[split:])

    def window() -> torch.Tensor:
        if isinstance(network, Network) and not network.is_plain:
            known, frames = network.constants(x) if hoists else {}, x if x.ndim == 5 else repeat(x, time_steps)
            return torch.stack([network.step(one, known)[place] for one in frames])
        inputs = x if x.ndim == 5 else repeat(before(x), time_steps)
        return torch.stack([after(one)[place] for one in inputs])

    return exactly(network, window)


def forward_with_densities(
    network: nn.Sequential, x: torch.Tensor, time_steps: int, reads: Readout = "spikes"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Runs the window (see `forward`) for training and records the density of every layer.

    Returns:
        Output spikes or membranes, depending on `reads`, [time, batch, classes] and densities, the fraction of neurons
            that spike at a step [layers]. Both are differentiable.
    """
    shares: list[list[torch.Tensor]] = [[] for _ in neurons(network)]
    with _watched(network, lambda number, neuron, fired: shares[number].append(fired.mean())):
        output = output_of(network, x, time_steps, reads)
    return output, torch.stack([torch.stack(share).mean() for share in shares])


@torch.no_grad()
def trace(network: nn.Sequential, x: torch.Tensor, time_steps: int) -> Trace:
    """Runs the window (see `forward`) and records every layer, `lif1`, `lif2`, ..., at every step."""
    steps: list[Trace] = []
    nodes = [name for name, module in network.named_children() if isinstance(module, snn.SpikingNeuron)]

    def record(number: int, neuron: snn.SpikingNeuron, fired: torch.Tensor) -> None:
        if number == 0:
            steps.append(Trace({}, {}))
        node, names = nodes[number], NEURONS[type(neuron).__name__.lower()].states
        steps[-1].states[node] = {name: getattr(neuron, name) for name in names}
        steps[-1].spikes[node] = fired

    with _watched(network, record):
        forward(network, x, time_steps)
    return joined(steps, torch.stack)


@torch.no_grad()
def count(network: nn.Sequential, x: torch.Tensor, time_steps: int, readout: Readout = "spikes") -> SpikeCounts:
    """Runs the window (see `forward`) and keeps only sums."""
    check_input(network, x, time_steps)
    fired = torch.zeros(x.shape[-4], len(neurons(network)), device=x.device)

    def add(number: int, neuron: snn.SpikingNeuron, spikes: torch.Tensor) -> None:
        fired[:, number] += spikes.flatten(1).sum(1)

    with _watched(network, add):
        scores = summed(output_of(network, x, time_steps, readout))
    return SpikeCounts(scores, fired)


@contextmanager
def _watched(network: nn.Sequential, see: Callable[[int, snn.SpikingNeuron, torch.Tensor], None]) -> Iterator[None]:
    """Calls `see(layer, neuron, spikes)` for every layer at every step."""

    def hook(number: int) -> Callable[..., None]:
        return lambda neuron, inputs, output: see(number, neuron, output[0] if neuron.output else output)

    handles = [neuron.register_forward_hook(hook(number)) for number, neuron in enumerate(neurons(network))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def channels_first(images: np.ndarray, memory_format: torch.memory_format = torch.contiguous_format) -> torch.Tensor:
    """Converts images [..., H, W, C] to torch's layout [..., C, H, W].

    The clone has a data loader's strides. Without it, torch would treat the strides of gray images as channels-last.
    """
    moved = torch.from_numpy(images).movedim(-1, -3)
    if moved.ndim == 4:
        return moved.clone(memory_format=memory_format)
    return moved.flatten(0, 1).clone(memory_format=memory_format).unflatten(0, moved.shape[:2])  # each step's batch
