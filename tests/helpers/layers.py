"""Individual stages whose neurons don't matter."""

from dataclasses import replace

from csnn_jax.config import ModelConfig, Pooling
from csnn_jax.config.build import graph
from csnn_jax.config.graph import Edge, Operation, Signal
from csnn_jax.config.operations import Convolution, Flatten, Linear
from csnn_jax.engine.stages import Stage, stages


def lone_layer(
    name: str,
    kind: str,
    in_shape: tuple[int, ...],
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    padding: int = 0,
    pool: Pooling | None = None,
    *,
    input_bits: int = 0,
    input_step: float = 1.0,
    weight_bits: int | None = None,
) -> Stage:
    """A convolution or linear layer with the default neurons and a bias."""
    first: list[Operation] = []
    if kind == "conv":
        first = [Convolution(channels, kernel, stride, padding), *([pool] if pool else [])]
    else:
        first = [*([Flatten()] if len(in_shape) == 3 else []), Linear(channels)]
    neurons = replace(ModelConfig().graph.neurons[0].operation, channels=channels)
    nodes, last = [], "image"
    for operation in (*first, neurons):
        label = name if isinstance(operation, Convolution | Linear) else type(operation).__name__
        nodes.append((label, operation, (Edge(last),)))
        last = label
    (stage,) = stages(graph(in_shape, Signal(input_bits, input_step), nodes, weight_bits))
    return stage
