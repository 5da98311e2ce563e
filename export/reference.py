"""The network in torch, one time step at a time with its state as arguments: the source of every export.

It's bit-identical to `csnn_torch.model.sequential` (snnTorch), which hides its state in the layers; a graph exported
from that would silently lose it.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from csnn_jax.config.graph import IMAGE, Edge, Graph
from csnn_jax.config.network import ModelConfig
from csnn_jax.data.batches import as_input
from csnn_jax.data.images import as_floats
from csnn_jax.runs.layouts import Tensors
from csnn_jax.window import Carry, Trace, output, step
from csnn_torch.library import Torch

States = tuple[Tensor, ...]
"""The state of every layer and the stored outputs, in the order of `state_shapes`."""
Scores = Callable[[Tensor], np.ndarray]
"""A program: maps `inputs` to class scores [batch, classes], which are spike counts or summed membranes."""


class Step:
    """One time step of the whole network in torch's layouts, float32.

    Args:
        config: the model's configuration.
        tensors: its parameters on their grids, as returned by `weights.load`.

    Attributes:
        config: the configuration.
        parameters: the parameters of each node by name. Those of neurons are scalars, or one value per channel
            [channels, 1, 1], or [features] for linear layers.
    """

    def __init__(self, config: ModelConfig, tensors: Tensors):
        self.config, self._library = config, Torch()
        self.parameters = self._library.parameters(config.graph, tensors)

    def initial_states(self, batch: int) -> States:
        """The states before the first step, zeros [batch, ...], see `state_shapes`."""
        return tuple(torch.zeros(batch, *shape) for shape in state_shapes(self.config).values())

    @torch.no_grad()
    def __call__(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One time step, with arguments and results in the order of step.onnx: states last.

        Args:
            x: image or spikes [batch, channels, height, width], integer multiples of 1 / `config.entering.scale`.
            states: states after the previous step, see `state_shapes`.

        Returns:
            (output, states): output spikes [batch, classes], or membranes if the readout is the membrane, and the
                states after this step, with membranes before the reset by their own spike.
        """
        graph = self.config.graph
        carry, after = step(graph, self._library, self.parameters, carried(graph, states), {IMAGE: x})
        stored = *map(dict.values, carry.states.values()), *carry.past.values()
        return output(self.config, after.states, after.values), *itertools.chain.from_iterable(stored)

    @torch.no_grad()
    def trace(self, states: Iterable[Sequence[Tensor]]) -> Trace:
        """The trace that has these states after each step, in the order of `state_shapes`, with their spikes S[t]."""
        by_node = carried(self.config.graph, map(torch.stack, zip(*states, strict=True))).states
        graph, parameters = self.config.graph, self.parameters
        return Trace(
            by_node, {name: self._library.spikes(graph[name], parameters[name], one) for name, one in by_node.items()}
        )


def carried(graph: Graph, states: Iterable[Any]) -> Carry:
    """What a step needs, from states in the order of `state_shapes`."""
    left = iter(states)
    by_node = {node.name: {name: next(left) for name in node.operation.kind.states} for node in graph.neurons}
    return Carry(by_node, {name: tuple(itertools.islice(left, delay)) for name, delay in graph.delays.items()})


def state_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shapes of all states by their names in graphs, in the order of graphs.

    These are `mem1`, `mem2`, ..., then, for delays, outputs of earlier steps: `lif1@2` is what `lif1` gave two steps
    before. Shapes are without the batch: (channels, height, width) or (features,).
    """
    graph = config.graph
    shapes = {
        f"{name}{number}": node.channels_first
        for number, node in enumerate(graph.neurons, 1)
        for name in node.operation.kind.states
    }
    past = (Edge(name, steps) for name, longest in graph.delays.items() for steps in range(1, longest + 1))
    return shapes | {str(edge): graph[edge.source].channels_first for edge in past}


def inputs(config: ModelConfig, images: np.ndarray, seed: tuple[int, ...] = (0, 2, 0)) -> Tensor:
    """The network's input for images, float32.

    Args:
        config: the model's configuration, with the encoding.
        images: uint8 [batch, H, W, C], or [batch, time, H, W, C] if they have a time axis.
        seed: identifies the batch for the rate encoding, see `csnn_jax.data.encode`.

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


def trace(network: Step, x: Tensor, time_steps: int) -> Trace:
    """Runs the window step by step from zero states, without hoisting anything, and records every layer.

    Args:
        network: the network.
        x: see `inputs`.
        time_steps: length of the window if `x` is a single image.
    """
    states: Sequence[Tensor] = network.initial_states(x.shape[-4])
    recorded = []
    for frame in frames(x, time_steps):
        _, *states = network(frame, *states)
        recorded.append(states)
    return network.trace(recorded)
