"""Drops channels of a network's hidden layers: those that can't fire, or any others.

A channel that doesn't fire adds nothing to the next layer, so dropping it doesn't change the spikes on any image on
which it would have stayed silent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from csnn_jax.config.graph import IMAGE, Graph, WeightedNode
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.nodes import NodeConfig, Nodes
from csnn_jax.config.operations import OneToOne
from csnn_jax.errors import UserError
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import Tensors
from export.c.bounds import bounds


class Able(NamedTuple):
    """A network without the channels that can't fire.

    Attributes:
        config: its configuration.
        tensors: its parameters.
        kept: for every layer of neurons, which of the whole network's channels it has, bool [channels].
    """

    config: ModelConfig
    tensors: Tensors
    kept: dict[str, np.ndarray]


def able(config: ModelConfig, tensors: Tensors) -> Able:
    """Drops the channels that can't fire for any input, whatever the number of steps.

    One stays in a layer in which none can fire. All stay if the smaller network would need other grids.
    """
    ends, names = bounds(config, tensors), [node.name for node in config.graph.neurons]
    fires = [one.fires | (~one.fires.any() & (np.arange(len(one.fires)) == 0)) for one in ends.values()]
    alive = together(config.graph, tensors, fires[:-1])
    last = np.ones(config.num_classes, bool)
    try:
        smaller, left = without(config, tensors, alive)
    except UserError:
        return Able(config, tensors, {node.name: np.ones(node.shape[-1], bool) for node in config.graph.neurons})
    return Able(smaller, left, dict(zip(names, [*alive, last], strict=True)))


def without(config: ModelConfig, tensors: Tensors, alive: Sequence[np.ndarray]) -> tuple[ModelConfig, Tensors]:
    """The network with only some channels of its hidden layers.

    Args:
        config: the network.
        tensors: its parameters.
        alive: the channels to keep, bool [channels] for each layer; equal for layers whose channels go together.

    Returns:
        (its configuration, its parameters). They are on the grids of the smaller layers, which are as fine or finer.

    Raises:
        UserError: a layer with so many inputs that each neuron has its own grid would get a coarser one.
    """
    left, graph = dict(tensors), config.graph
    stays = dict(zip((node.name for node in graph.neurons), [*alive, np.ones(config.num_classes, bool)], strict=True))
    for neurons in graph.neurons:
        for name in neurons.operation.per_channel:
            left[f"{neurons.name}.{name}"] = tensors[f"{neurons.name}.{name}"][stays[neurons.name]]
        stays |= dict.fromkeys((node.name for node in graph.sources(neurons)), stays[neurons.name])
    for node in graph.weighted:
        weight, read = tensors[f"{node.name}.weight"][stays[node.name]], _read(graph, node)
        if weight.ndim > 1 and not all(stays[name].all() for name in read):  # then they have equal channels
            # Torch flattens channel by channel: each channel has one input per position.
            positions = 1 if node.is_convolution else math.prod(graph.unflattened(node)[:-1])
            weight = weight[:, np.repeat(stays[read[0]], positions)]
        left[f"{node.name}.weight"] = np.ascontiguousarray(weight)
        for name in (f"{node.name}.bias", f"{node.name}.exponents"):
            if name in tensors:
                left[name] = tensors[name][stays[node.name]]
    smaller = _with_channels(config, {name: int(channels.sum()) for name, channels in stays.items()})
    if extra := next((name for name in left if name not in layouts.expected_shapes(smaller)), None):
        alone = f"a shortcut with as many channels as its block has no {extra}"
        raise UserError(f"--drop-silent: {alone}; expected an export without it")
    assert {name: value.shape for name, value in left.items()} == layouts.expected_shapes(smaller)
    rounded = layouts.on_grid(smaller, left)
    if off := next((name for name, value in left.items() if not np.array_equal(value, rounded[name])), None):
        raise UserError(f"--drop-silent: {off} would be off the smaller layer's grid; expected an export without it")
    return smaller, left


def _with_channels(config: ModelConfig, channels: Mapping[str, int]) -> ModelConfig:
    """The network whose nodes have these numbers of channels."""
    if config.network is None:
        counts, convolutions = [channels[node.name] for node in config.graph.neurons[:-1]], len(config.conv_channels)
        return replace(config, conv_channels=tuple(counts[:convolutions]), hidden=tuple(counts[convolutions:]))
    nodes = []
    for one in config.network.nodes:
        settings = dict(one.settings)
        if "channels" in settings:
            settings["channels"] = channels[one.name]
        nodes.append(NodeConfig(one.name, one.operation, one.inputs, **settings))
    return replace(config, network=Nodes(tuple(nodes)))


def _read(graph: Graph, node: WeightedNode) -> list[str]:
    """The layers whose spikes a node multiplies, perhaps pooled or added."""
    return [name for name in dict.fromkeys(edge.source for edge in graph.reads(node)) if name != IMAGE]


def together(graph: Graph, tensors: Tensors, alive: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The channels that stay, for every hidden layer: those of layers that are added or share weights go together.

    One weight for each feature joins the layer that it reads with those that add it. Channels of the output stay, and
    of layers whose features have one weight each after they were flattened, or that are added to the image or to
    features that are flattened differently. So do those with a negative threshold whose spikes are read in the step
    after: they spike before the first step.
    """
    stays = {layer.name: channels for layer, channels in zip(graph.neurons, alive, strict=False)}
    stays[graph.neurons[-1].name] = np.ones(graph.neurons[-1].shape[-1], bool)
    late = {edge.source for node in graph for edge in node.inputs if graph.is_previous(edge)}
    for layer in (layer for layer in graph.neurons if layer.name in late):
        stays[layer.name] = stays[layer.name] | (np.asarray(layer.operation.values(tensors)["threshold"]) < 0)
    joined: list[set[str]] = [{layer.name} for layer in graph.neurons]
    for node in graph.weighted:
        names, read = {neurons.name for neurons in graph.neurons if node in graph.sources(neurons)}, _read(graph, node)
        one_to_one = isinstance(node.operation, OneToOne)
        mixed = read and any(edge.source == IMAGE for edge in graph.reads(node))
        if mixed or (one_to_one and graph.unflattened(node)[:-1]):
            stays |= {name: np.ones_like(stays[name]) for name in (*read, *(names if one_to_one else ()))}
        for some in (names.union(read),) if one_to_one else (names, set(read)):
            meeting = [group for group in joined if group & some]
            joined = [group for group in joined if group not in meeting] + [set().union(*meeting)]
    for group in joined:
        if len({stays[name].shape for name in group}) > 1:
            stays |= {name: np.ones_like(stays[name]) for name in group}
            continue
        together = np.logical_or.reduce([stays[name] for name in group])
        stays |= {name: together for name in group}
    return [stays[layer.name] for layer in graph.neurons[:-1]]
