"""The nodes of a network that flags describe: a chain of blocks, with residual and recurrent connections."""

from collections.abc import Iterator
from typing import Any

from csnn_jax.config.graph import IMAGE, Edge, Operation
from csnn_jax.config.operations import Convolution, Flatten, Linear, OneToOne, Pooling
from csnn_jax.neurons.neuron import NEVER, Neurons

GEOMETRY = ("kernel_size", "stride", "padding", "pool", "pool_size")
"""Fields with one value for all convolutions or one per convolution."""
Described = tuple[str, Operation, tuple[Edge, ...]]
"""A node's name, operation and inputs."""


def operations(config: Any) -> Iterator[Described]:
    """The nodes of a `ModelConfig`, in order."""
    neurons, before = _neurons(config), _edges(IMAGE)
    for index in range(1, len(config.conv_channels) + 1):
        nodes, before = _block(config, index, next(neurons), before)
        yield from nodes
    name = f"flatten{len(config.conv_channels) + 1}"
    yield name, Flatten(), before
    recurrent = dict(layer.partition(":")[::2] for layer in config.recurrent)
    for index, layer in enumerate(neurons, 1):
        linear, back = f"fc{index}", f"rec{index}"
        yield linear, Linear(layer.channels, config.bias), _edges(name)
        if linear in recurrent:
            weights = OneToOne(layer.channels) if recurrent[linear] else Linear(layer.channels, bias=False)
            yield back, weights, (Edge(layer.name, 1),)
        yield layer.name, layer, _edges(linear, back) if linear in recurrent else _edges(linear)
        name = layer.name


def _block(
    config: Any, index: int, layer: Neurons, before: tuple[Edge, ...]
) -> tuple[list[Described], tuple[Edge, ...]]:
    """The nodes of a convolutional block, and the nodes whose sum is its output.

    Args:
        config: the `ModelConfig`.
        index: the block's number, from 1.
        layer: its neurons.
        before: the nodes whose sum is its input.
    """
    kernel, stride, padding, kind, size = (config.each_convolution(name)[index - 1] for name in GEOMETRY)
    conv, pool, skip, weights = (f"{kind}{index}" for kind in ("conv", "pool", "skip", "res"))
    zeros = kernel // 2 if padding == "same" else 0
    pooling = None if kind == "none" else Pooling(kind, size, size)
    nodes: list[Described] = [(conv, Convolution(layer.channels, kernel, stride, zeros, config.bias), before)]
    currents, output = _edges(conv), layer.name
    if pooling and not config.pool_after:
        nodes.append((pool, pooling, currents))
        currents = _edges(pool)
    shortcut = _edges()
    if conv in config.residual:
        same = stride == 1 and layer.channels == config.conv_channels[index - 2]
        shortcut = before
        if pooling and (same or not config.pool_after):
            nodes.append((skip, pooling, before))
            shortcut = _edges(skip)
        if not same:
            nodes.append((weights, Convolution(layer.channels, 1, stride, 0, config.bias), shortcut))
            currents, shortcut = (*currents, Edge(weights)), _edges()
    nodes.append((layer.name, layer, currents))
    if pooling and config.pool_after:
        nodes.append((pool, pooling, _edges(layer.name)))
        output = pool
    return nodes, (Edge(output), *shortcut)


def _edges(*sources: str) -> tuple[Edge, ...]:
    """Inputs without a delay."""
    return tuple(map(Edge, sources))


def _neurons(config: Any) -> Iterator[Neurons]:
    """The neurons of each layer of a `ModelConfig`."""
    kind = config.kind
    learned = tuple(name for name in kind.parameters if getattr(config, f"learn_{name}"))
    channels = (*config.conv_channels, *config.hidden, config.num_classes)
    columns = zip(channels, config.each("reset"), *map(config.each, kind.parameters), strict=True)
    for index, (width, reset, *values) in enumerate(columns, 1):
        configured = dict(zip(kind.parameters, values, strict=True))
        names: tuple[tuple[str, ...], ...] = learned, config.per_channel
        if index == len(channels) and config.output == "integrator":
            reset, configured["threshold"] = "none", NEVER
            names = tuple(tuple(name for name in some if name != "threshold") for some in names)
        yield Neurons(f"lif{index}", kind, reset, width, tuple(configured.items()), names[0], names[1])
