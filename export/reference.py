"""The network in torch, one time step at a time, with the membranes as arguments: what every export is made from.

Same numbers as `csnn_torch.model.sequential` (snnTorch), bit for bit; but that hides its membranes in the layers, and
a graph exported from hidden state silently loses it.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from csnn_jax.config import ModelConfig, Reset
from csnn_jax.data.encode import as_input
from csnn_jax.data.entry import as_floats
from csnn_jax.neurons.leaky import step
from csnn_jax.runs.layouts import Tensors, bias_of
from csnn_torch.blocks import before_neurons

Membranes = tuple[Tensor, ...]
Counts = Callable[[Tensor], np.ndarray]
"""A program: from `inputs` to output spikes per image and class [batch, classes]."""


class Trace(NamedTuple):
    """The membranes and spikes of every layer at every step.

    One tensor [time, batch, channels, height, width] or [time, batch, features] for each layer.

    Attributes:
        membranes: U[t], before the reset that the spike of step t causes.
        spikes: S[t], 0 or 1.
    """

    membranes: Membranes
    spikes: Membranes


class Operations:
    """Torch's operations for a neuron's step, see `csnn_jax.neurons.operations`; `fired` is 0.0 or 1.0."""

    def fired(self, membrane: Tensor, threshold: Tensor) -> Tensor:
        """Where a membrane is above the threshold."""
        return (membrane > threshold).to(membrane.dtype)

    def masked(self, fired: Tensor, x: Tensor) -> Tensor:
        """x where a neuron fired, else 0: a product, which other tools read better than a choice."""
        return fired * x

    def decayed(self, factor: Tensor, x: Tensor) -> Tensor:
        """The product, rounded before anything is added to it."""
        return factor * x


class Leaky(nn.Module):
    """One time step of a layer of neurons (docs/design.md, section 2; snnTorch `Leaky`, reset delay on).

    The arithmetic rounds as snnTorch's does in float32, once an operation.

    Args:
        beta: membrane decay per step; clipped to 0..1.
        threshold: theta.
        reset: "subtract", "zero" or "none".
    """

    beta: Tensor
    threshold: Tensor

    def __init__(self, beta: float, threshold: float, reset: Reset):
        super().__init__()
        self.reset = reset
        self.register_buffer("beta", torch.tensor(beta, dtype=torch.float32).clamp(0, 1))
        self.register_buffer("threshold", torch.tensor(threshold, dtype=torch.float32))

    def forward(self, membrane: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """From U[t-1] and I[t] to (U[t], S[t]), all of one shape."""
        membrane = step(Operations(), self.beta, self.threshold, self.reset, membrane, current)
        return membrane, self.fire(membrane)

    def fire(self, membrane: Tensor) -> Tensor:
        """H(U - theta): 1.0 where the membrane is above the threshold, 0.0 where it is at it or below."""
        return Operations().fired(membrane, self.threshold)


class Step(nn.Module):
    """One time step of the whole network in torch's layouts, float32.

    Args:
        config: the stack.
        tensors: its parameters on their grids, as `weights.load` gives them.
    """

    def __init__(self, config: ModelConfig, tensors: Tensors):
        super().__init__()
        self.config = config
        self.blocks: list[tuple[tuple[str, ...], str]] = []
        for number, layer in enumerate(config.layers, 1):
            # Without biases there are biases of 0, which change no bit: every file then has the same operators.
            block = before_neurons(layer, number, bias=True)
            for name, module in block.items():
                self.add_module(name, module)
            neurons = layer.neurons
            self.add_module(neurons.name, Leaky(*neurons.values(tensors), neurons.reset))
            self.blocks.append((tuple(block), neurons.name))
        complete = tensors | {f"{layer.name}.bias": bias_of(layer, tensors) for layer in config.layers}
        clipped = {name: value for name, value in self.state_dict().items() if name.startswith("lif")}
        weighted = {
            name: torch.tensor(complete[name], dtype=torch.float32) for name in self.state_dict() if name in complete
        }
        self.load_state_dict(weighted | clipped)
        self.requires_grad_(False)
        self.eval()

    @property
    def neurons(self) -> list[Leaky]:
        """The neurons of every layer, in order."""
        return [module for module in self.children() if isinstance(module, Leaky)]

    def initial_membranes(self, batch: int) -> Membranes:
        """U[-1] = 0: one tensor [batch, channels, height, width] or [batch, features] per layer."""
        return tuple(torch.zeros(batch, *shape) for shape in membrane_shapes(self.config))

    def forward(self, x: Tensor, *membranes: Tensor) -> tuple[Tensor, ...]:
        """One time step; its arguments and results are in the order of step.onnx, which has the carry last.

        Args:
            x: image or spikes [batch, channels, height, width], whole multiples of 1 / `config.input_scale`.
            membranes: U[t-1] of every layer, see `initial_membranes`.

        Returns:
            (spikes, membranes): output spikes [batch, classes] and U[t] of every layer, before the reset that their own
                spike causes.
        """
        new: list[Tensor] = []
        for (names, neurons), membrane in zip(self.blocks, membranes, strict=True):
            for name in names:
                x = self.get_submodule(name)(x)
            membrane, x = self.get_submodule(neurons)(membrane, x)
            new.append(membrane)
        return x, *new

    def fire(self, membranes: Membranes) -> Membranes:
        """The spikes S[t] of every layer, from its U[t]."""
        return tuple(neurons.fire(u) for neurons, u in zip(self.neurons, membranes, strict=True))


def membrane_shapes(config: ModelConfig) -> list[tuple[int, ...]]:
    """Shape of every layer's membranes without the batch: (channels, height, width) or (features,)."""
    return [(layer.out_shape[-1], *layer.out_shape[:-1]) for layer in config.layers]


def inputs(config: ModelConfig, images: np.ndarray, seed: tuple[int, ...] = (0, 2, 0)) -> Tensor:
    """The network's input for images, float32.

    Args:
        config: tells the encoding.
        images: uint8 [batch, H, W, C], or [batch, time, H, W, C] where they have a time axis of their own.
        seed: names the batch for the rate encoding, see `data.encode`.

    Returns:
        One image [batch, C, H, W] for every step (direct encoding), or a sequence [time, batch, C, H, W].

    Raises:
        ValueError: images of another type.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"images are {images.dtype}, expected uint8")
    x = as_floats(as_input(np.asarray(images), config, seed), config)
    return torch.from_numpy(x).moveaxis(-1, -3).contiguous()


def frames(x: Tensor, time_steps: int) -> Iterator[Tensor]:
    """The input of every step: `x` [batch, C, H, W] again and again, or each of `x` [time, batch, C, H, W] in turn."""
    return iter(x) if x.ndim == 5 else (x for _ in range(time_steps))


@torch.no_grad()
def trace(step: Step, x: Tensor, time_steps: int) -> Trace:
    """Runs the window step by step from membranes of 0, hoisting nothing, and records every layer.

    Args:
        step: the network.
        x: see `inputs`.
        time_steps: length of the window, where `x` is one image.
    """
    membranes = step.initial_membranes(x.shape[-4])
    found = []
    for frame in frames(x, time_steps):
        _, *membranes = step(frame, *membranes)
        found.append(tuple(membranes))
    stacked = tuple(torch.stack(layer) for layer in zip(*found, strict=True))
    return Trace(stacked, step.fire(stacked))
