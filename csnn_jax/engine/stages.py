"""A graph's nodes grouped into stages, which the event engine's kernels run at once, and what they don't support."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jax import Array

from csnn_jax.config.graph import Graph, NeuronNode, Node, WeightedNode
from csnn_jax.config.operations import Convolution, Flatten, Pooling
from csnn_jax.data.images import Images, highest_count
from csnn_jax.engine import library
from csnn_jax.engine.library import Unsupported, padded
from csnn_jax.network.model import CSNN


@dataclass(frozen=True)
class Stage:
    """A convolution and its pooling, or a linear layer, and the neurons that receive its output as current.

    Attributes:
        source: the image, or the neurons whose spikes it reads.
        weights: the convolution or linear layer.
        pooling: the pool of its output; None: none.
        neurons: the neurons.
        recurrent: the weights of their own spikes of the step before; None: there are none.
    """

    source: Node
    weights: WeightedNode
    pooling: Node | None
    neurons: NeuronNode
    recurrent: WeightedNode | None = None

    @property
    def pool(self) -> Pooling | None:
        """The pool's settings."""
        operation = self.pooling and self.pooling.operation
        return operation if isinstance(operation, Pooling) else None

    @property
    def name(self) -> str:
        """The name of its weights."""
        return self.weights.name

    @property
    def convolution(self) -> Convolution | None:
        """The convolution; None: it's a linear layer."""
        operation = self.weights.operation
        return operation if isinstance(operation, Convolution) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its membranes and spikes, without the batch."""
        return self.neurons.shape

    @property
    def channels(self) -> int:
        """Output channels, or neurons of a linear layer."""
        return self.weights.channels


@lru_cache(256)
def stages(graph: Graph) -> tuple[Stage, ...]:
    """The stages of a graph in order.

    Raises:
        Unsupported: a node doesn't fit into one; the message names it.
    """
    return tuple(_stage(graph, neurons) for neurons in graph.neurons)


def _stage(graph: Graph, neurons: NeuronNode) -> Stage:
    weights, *others = graph.sources(neurons)
    recurrent = _recurrent(graph, neurons, weights, others)
    for node in graph.path(weights):
        if not isinstance(node.operation, Flatten):
            raise Unsupported(
                f"the event engine only pools before the neurons, but {node.name} pools spikes (--pool-after); "
                "--engine scan does both"
            )
    pools = (node for node in graph.readers(weights) if isinstance(node.operation, Pooling))
    return Stage(graph.origin(weights), weights, next(pools, None), neurons, recurrent)


def _recurrent(
    graph: Graph, neurons: NeuronNode, weights: WeightedNode, others: Sequence[WeightedNode]
) -> WeightedNode | None:
    """The weights of the neurons' own spikes of the step before; None: there are none."""
    for node in (weights, *others):
        if graph.delay(node) and (node is weights or graph.origin(node) is not neurons):
            earlier = graph.origin(node).name
            raise Unsupported(
                f"the event engine only feeds a layer's spikes back to itself, but {node.name} reads {earlier}@1"
            )
    recurrent = [node for node in others if graph.delay(node)]
    if len(others) > len(recurrent) or len(recurrent) > 1 or neurons.operation.separate:
        inputs = " and ".join(map(str, neurons.inputs))
        raise Unsupported(f"the event engine adds no currents of several layers, but {neurons.name} reads {inputs}")
    if recurrent and (weights.is_convolution or recurrent[0].is_convolution):
        raise Unsupported(f"the event engine supports recurrent linear layers, not convolutions, as in {neurons.name}")
    return recurrent[0] if recurrent else None


def reader(graph: Graph, stage: Stage) -> Stage | None:
    """The only stage that reads a stage's spikes; None: there are several, or they are the network's output."""
    others = [other for other in stages(graph) if other.source is stage.neurons]
    return others[0] if len(others) == 1 else None


def unsupported(model: CSNN, images: Images | Array | None = None) -> str | None:
    """Why the engine can't run this model (on these images, if given), in one line; None if it can."""
    frames = images is not None and images.ndim == 5
    reason = lacking(model, frames)
    if reason is None and frames and model.config.encoding == "direct":
        assert images is not None
        return _no_counts(images, model.config.entering.scale)
    return reason


def lacking(model: CSNN, frames: bool) -> str | None:
    """Why the engine can't run this model with frames or with single images, in one line; None if it can."""
    if not library.available():
        return library.failure()
    if model.dtype != jnp.float32:
        return f"the event engine computes in float32, not {model.dtype}"
    limits = library.limits()
    planes = planes_of(model) if frames else 1
    try:
        for neurons in model.config.graph.neurons:
            _check_neurons(neurons, limits)
        for stage in stages(model.config.graph):
            if stage.convolution:
                _check_convolution(stage, stage.convolution, limits, 1 if stage.source.operation else planes)
    except Unsupported as error:
        return str(error)
    return None


def _no_counts(images: Images | Array, scale: float) -> str | None:
    """Why the engine doesn't support these frames, in one line; None if it does."""
    most = 2 ** library.limits().count_planes - 1
    takes = f"the event engine needs frames of whole numbers from 0 to {most}"
    if images.dtype == np.uint8 and scale != 1:
        return f"{takes}, but these are divided by {scale:g}"
    highest = highest_count(images)
    if highest is None:
        return f"{takes}, but these have fractions or negative numbers"
    return f"{takes}, but these go up to {highest}" if highest > most else None


def _check_neurons(node: NeuronNode, limits: library.Limits) -> None:
    """Raises Unsupported unless the kernels can run these neurons."""
    neurons = node.operation
    if reason := neurons.kind.lacks("event"):
        raise Unsupported(f"{reason}, as in {node.name}")
    if neurons.per_channel:
        names = " and ".join(neurons.per_channel)
        raise Unsupported(f"the event engine supports one {names} per layer, not per channel, as in {node.name}")
    if neurons.reset not in limits.resets:
        raise Unsupported(f"the event engine doesn't support reset {neurons.reset}, as in {node.name}")


def _check_convolution(stage: Stage, convolution: Convolution, limits: library.Limits, planes: int) -> None:
    """Raises Unsupported unless the kernels can run this convolution and its pooling."""
    name, pool, inputs = stage.name, stage.pool, stage.source.shape[-1]
    if convolution.stride != 1:
        raise Unsupported(f"the event engine supports stride 1, but {name} has stride {convolution.stride}")
    if convolution.kernel not in limits.kernel_sizes:
        largest = max(limits.kernel_sizes)
        raise Unsupported(
            f"the event engine supports kernels of up to {largest} pixels, but {name} has {convolution.kernel}"
        )
    if 2 * convolution.padding >= convolution.kernel:
        raise Unsupported(
            f"the event engine pads by less than half the kernel, but {name} has padding {convolution.padding}"
        )
    if pool and stage.pooling and (pool.size not in limits.pool_sizes or pool.stride != pool.size):
        raise Unsupported(f"the event engine supports 2x2 pooling or none, but {stage.pooling.name} is {pool}")
    if pool and stage.pooling and pool.kind == "sum":
        raise Unsupported(f"the event engine doesn't support sum pooling, as in {stage.pooling.name}")
    if convolution.kernel**2 * padded(planes * inputs) > limits.inputs:
        raise Unsupported(f"the event engine sums at most {limits.inputs:,} inputs, but {name} has {inputs} channels")


def planes_of(model: CSNN) -> int:
    """Bits of a sequence's numbers: encodings produce spikes, frames have counts."""
    return library.limits().count_planes if model.config.encoding == "direct" else 1
