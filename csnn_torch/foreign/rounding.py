"""The effect of rounding a network's weights to their grids."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from csnn_jax.config import Config, Layer, ModelConfig
from csnn_jax.data import Images, as_floats, as_input
from csnn_jax.neurons.neuron import MEMBRANE, State
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import Tensors
from csnn_torch.blocks import Operations, before_neurons
from csnn_torch.model import channels_first

IMAGES = 1000
"""Number of images of a test split, from the first one."""
CHUNK = 50
"""Images at a time."""
INK = 0.2
"""Fraction of pixels above 0 in random images, about the same as in MNIST."""


class Effect(NamedTuple):
    """What rounding changed on some images.

    Attributes:
        images: number of images.
        spikes: number of compared values, spike or no spike, in all layers at all steps.
        changed: how many of these differ.
        silent: layers in which no neuron spikes.
        predictions: how many predictions differ.
        correct: correct predictions, unrounded and rounded; None: the labels are unknown.
    """

    images: int
    spikes: int
    changed: int
    silent: tuple[str, ...]
    predictions: int
    correct: tuple[int, int] | None

    def __str__(self) -> str:
        changed = f"changed {self.changed:,} of {self.spikes:,} spikes and {self.predictions:,} of {self.images:,}"
        quiet = f"; no neuron of {', '.join(self.silent)} spikes" if self.silent else ""
        if self.correct is None:
            return f"{changed} predictions{quiet}"
        before, after = (one / self.images for one in self.correct)
        return f"{changed} predictions; accuracy {before:.2%} before, {after:.2%} after{quiet}"


@torch.no_grad()
def effect(config: Config, tensors: Tensors, images: Images, labels: np.ndarray | None = None) -> Effect:
    """Runs a network with and without rounded weights, on the first `IMAGES` images, in torch on the CPU.

    Args:
        config: the job.
        tensors: the weights before rounding.
        images: images that fit the network.
        labels: their classes; None: unknown.
    """
    model = config.model
    sides = [_Network(model, one) for one in (tensors, layouts.on_grid(model, tensors))]
    count = min(IMAGES, len(images))
    spikes = changed = others = 0
    fired = np.zeros(len(model.layers), bool)
    correct = np.zeros(2, np.int64)
    for start in range(0, count, CHUNK):
        rows = np.arange(start, min(start + CHUNK, count))
        x = channels_first(as_floats(as_input(images[rows], model, (config.train.seed, 2, 0)), model))
        frames = x if x.ndim == 5 else [x] * model.time_steps
        scores: list[Tensor | int] = [0, 0]
        for before, after in zip(*(side.run(frames) for side in sides), strict=True):
            fired |= [bool(layer.any()) for layer in before.spikes]
            spikes += sum(layer.numel() for layer in before.spikes)
            changed += sum(int((a != b).sum()) for a, b in zip(before.spikes, after.spikes, strict=True))
            scores = [total + side.read for total, side in zip(scores, (before, after), strict=True)]
        classes = [np.asarray(total).argmax(1) for total in scores]
        others += int(np.sum(classes[0] != classes[1]))
        if labels is not None:
            correct += [np.count_nonzero(found == labels[rows]) for found in classes]
    were, are = correct.tolist()
    spiking = model.layers[: -1 if model.output == "integrator" else None]
    silent = tuple(layer.name for layer, ever in zip(spiking, fired, strict=False) if not ever)
    return Effect(count, spikes, changed, silent, others, None if labels is None else (were, are))


def drawn(model: ModelConfig, count: int) -> Images:
    """Random images, if a network's own weren't given: bytes in a fifth of the pixels, 0 elsewhere."""
    random = np.random.default_rng(0)
    shape = (count, *model.input_shape)
    most = min(255, 2**model.pixel_bits)
    return (random.integers(1, most, shape, endpoint=True) * (random.random(shape) < INK)).astype(np.uint8)


class _Step(NamedTuple):
    """The results of a step: the spikes of every layer, and what determines the class, [batch, ...]."""

    spikes: list[Tensor]
    read: Tensor


class _Network:
    """A network with any neurons and weights, rounded or not; results equal snnTorch's if it has these neurons."""

    def __init__(self, model: ModelConfig, tensors: Tensors):
        self.model = model
        self.blocks = [before_neurons(layer, number, layer.bias) for number, layer in enumerate(model.layers, 1)]
        self.values = [_values(layer, tensors) for layer in model.layers]
        for layer, modules in zip(model.layers, self.blocks, strict=True):
            for name, parameter in modules[layer.name].named_parameters():
                parameter.copy_(torch.from_numpy(tensors[f"{layer.name}.{name}"]))

    def run(self, frames: Iterable[Tensor]) -> Iterator[_Step]:
        """The steps for these inputs [batch, C, H, W], from states of 0."""
        states: list[State | None] = [None] * len(self.blocks)
        for x in frames:
            spikes: list[Tensor] = []
            for number, (layer, modules) in enumerate(zip(self.model.layers, self.blocks, strict=True)):
                for module in modules.values():
                    x = module(x)
                neurons, values = layer.neurons, self.values[number]
                state = states[number] or dict.fromkeys(neurons.kind.states, torch.zeros_like(x))
                states[number] = state = neurons.kind.step(Operations(), values, state, x, neurons.reset)
                x = Operations().fired(state[MEMBRANE], neurons.kind.threshold(values, state))
                spikes.append(x)
            yield _Step(spikes, state[MEMBRANE] if self.model.readout == "membrane" else x)


def _values(layer: Layer, tensors: Tensors) -> dict[str, Tensor]:
    ones = (1,) * (len(layer.out_shape) - 1)
    found = {name: torch.tensor(value, dtype=torch.float32) for name, value in layer.neurons.values(tensors).items()}
    return {name: value.reshape(-1, *ones) if value.ndim else value for name, value in found.items()}
