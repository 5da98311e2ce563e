"""The network in torch, one time step at a time with its state as arguments: the source of every export.

It's bit-identical to `csnn_torch.model.sequential` (snnTorch), which hides its state in the layers; a graph exported
from that would silently lose it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from csnn_jax.config import Layer, ModelConfig
from csnn_jax.data.encode import as_input
from csnn_jax.data.entry import as_floats
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.runs.layouts import Tensors, bias_of
from csnn_torch.blocks import Operations, before_neurons

T = TypeVar("T")
States = tuple[Tensor, ...]
"""The state of every layer, in the order of `state_shapes`."""
Scores = Callable[[Tensor], np.ndarray]
"""A program: maps `inputs` to class scores [batch, classes], which are spike counts or summed membranes."""


class Trace(NamedTuple):
    """All states and spikes at every step: tensors [time, batch, channels, height, width] or [time, batch, features].

    Attributes:
        output: output spikes or membranes, which determine the class.
        states: states of every layer, in the order of `state_shapes`; membranes are before the reset by their own
            spikes.
        spikes: S[t] of every layer, 0 or 1.
    """

    output: Tensor
    states: States
    spikes: States


class Neurons(nn.Module):
    """One time step of a layer of neurons (docs/design.md, section 2), as in snnTorch with its reset delay.

    Every operation rounds once in float32, as in snnTorch. Parameters are buffers: scalars, or one value per channel
    [channels, 1, 1], or [features] for linear layers.

    Args:
        layer: the layer of the neurons.
        tensors: the network's parameters.
        read: whether to output membranes instead of spikes.
    """

    threshold: Tensor

    def __init__(self, layer: Layer, tensors: Tensors, read: bool = False):
        super().__init__()
        self.read = read
        self.kind, self.reset = layer.neurons.kind, layer.neurons.reset
        for name, value in layer.neurons.values(tensors).items():
            value = torch.tensor(value, dtype=torch.float32)
            ones = (1,) * (len(layer.out_shape) - 1)
            self.register_buffer(name, value.reshape(-1, *ones) if value.ndim else value)

    @property
    def values(self) -> dict[str, Tensor]:
        """The parameters by name."""
        return {name: getattr(self, name) for name in self.kind.parameters}

    def forward(self, current: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Maps I[t] and the state before the step to the output, S[t] or U[t], and the state after the step.

        States are in the order of the neuron model's `states`.
        """
        before = dict(zip(self.kind.states, state, strict=True))
        found = self.kind.step(Operations(), self.values, before, current, self.reset)
        after = [found[name] for name in self.kind.states]
        return found[MEMBRANE].clone() if self.read else self.fire(*after), *after

    def fire(self, *state: Tensor) -> Tensor:
        """H(U - theta): 1.0 if the membrane is above the threshold, 0.0 at or below it."""
        after = dict(zip(self.kind.states, state, strict=True))
        return Operations().fired(after[MEMBRANE], self.kind.threshold(self.values, after))


class Step(nn.Module):
    """One time step of the whole network in torch's layouts, float32.

    Args:
        config: the model's configuration.
        tensors: its parameters on their grids, as returned by `weights.load`.
    """

    def __init__(self, config: ModelConfig, tensors: Tensors):
        super().__init__()
        self.config = config
        self.blocks: list[tuple[str, ...]] = []
        for number, layer in enumerate(config.layers, 1):
            # Networks without biases get biases of 0, which change no bit, so every file has the same operators.
            block = before_neurons(layer, number, bias=True)
            for name, module in block.items():
                self.add_module(name, module)
            read = number == len(config.layers) and config.readout == "membrane"
            self.add_module(layer.neurons.name, Neurons(layer, tensors, read))
            self.blocks.append(tuple(block))
        complete = tensors | {f"{layer.name}.bias": bias_of(layer, tensors) for layer in config.layers}
        clipped = {name: value for name, value in self.state_dict().items() if name.startswith("lif")}
        weighted = {
            name: torch.tensor(complete[name], dtype=torch.float32) for name in self.state_dict() if name in complete
        }
        self.load_state_dict(weighted | clipped)
        self.requires_grad_(False)
        self.eval()

    @property
    def neurons(self) -> list[Neurons]:
        """The neurons of every layer, in order."""
        return [module for module in self.children() if isinstance(module, Neurons)]

    def initial_states(self, batch: int) -> States:
        """The states before the first step, zeros [batch, ...], see `state_shapes`."""
        return tuple(torch.zeros(batch, *shape) for shape in state_shapes(self.config).values())

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One time step, with arguments and results in the order of step.onnx: states last.

        Args:
            x: image or spikes [batch, channels, height, width], integer multiples of 1 / `config.input_scale`.
            states: states of every layer after the previous step, see `state_shapes`.

        Returns:
            (output, states): output spikes [batch, classes], or membranes if the readout is the membrane, and the
                states after this step, with membranes before the reset by their own spike.
        """
        new: list[Tensor] = []
        left = list(states)
        for names, neurons in zip(self.blocks, self.neurons, strict=True):
            for name in names:
                x = self.get_submodule(name)(x)
            x, *after = neurons(x, *(left.pop(0) for _ in neurons.kind.states))
            new += after
        return x, *new

    def fire(self, states: States) -> States:
        """The spikes S[t] of every layer, from the states after the step."""
        left = list(states)
        return tuple(one.fire(*(left.pop(0) for _ in one.kind.states)) for one in self.neurons)


def state_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shapes of all states by their names in graphs, `mem1`, `mem2`, ..., in the order of graphs.

    Shapes are without the batch: (channels, height, width) or (features,).
    """
    return {
        f"{name}{number}": (layer.out_shape[-1], *layer.out_shape[:-1])
        for number, layer in enumerate(config.layers, 1)
        for name in layer.neurons.kind.states
    }


def membranes(config: ModelConfig, states: Sequence[T]) -> list[T]:
    """The membranes from the states."""
    return [one for name, one in zip(state_shapes(config), states, strict=True) if name.startswith(MEMBRANE)]


def inputs(config: ModelConfig, images: np.ndarray, seed: tuple[int, ...] = (0, 2, 0)) -> Tensor:
    """The network's input for images, float32.

    Args:
        config: the model's configuration, with the encoding.
        images: uint8 [batch, H, W, C], or [batch, time, H, W, C] if they have a time axis.
        seed: identifies the batch for the rate encoding, see `data.encode`.

    Returns:
        One image [batch, C, H, W] for every step (direct encoding), or a sequence [time, batch, C, H, W].

    Raises:
        ValueError: the images have the wrong type.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"images are {images.dtype}, expected uint8")
    x = as_floats(as_input(np.asarray(images), config, seed), config)
    return torch.from_numpy(x).moveaxis(-1, -3).contiguous()


def frames(x: Tensor, time_steps: int) -> Iterator[Tensor]:
    """The input of every step: `x` [batch, C, H, W] repeatedly, or each of `x` [time, batch, C, H, W] in turn."""
    return iter(x) if x.ndim == 5 else (x for _ in range(time_steps))


@torch.no_grad()
def trace(step: Step, x: Tensor, time_steps: int) -> Trace:
    """Runs the window step by step from zero states, without hoisting anything, and records every layer.

    Args:
        step: the network.
        x: see `inputs`.
        time_steps: length of the window if `x` is a single image.
    """
    states = step.initial_states(x.shape[-4])
    outputs, found = [], []
    for frame in frames(x, time_steps):
        output, *states = step(frame, *states)
        outputs.append(output)
        found.append(tuple(states))
    stacked = tuple(torch.stack(layer) for layer in zip(*found, strict=True))
    return Trace(torch.stack(outputs), stacked, step.fire(stacked))
