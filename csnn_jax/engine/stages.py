"""A graph's nodes grouped into stages, which the event engine's kernels run at once, and what they don't support."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from csnn_jax.config.graph import IMAGE, Edge, Graph, NeuronNode, Node, WeightedNode
from csnn_jax.config.operations import Convolution, Flatten, Pooling
from csnn_jax.data.images import Images, highest_count
from csnn_jax.engine import library
from csnn_jax.engine.library import Unsupported, padded
from csnn_jax.network.model import CSNN


class Place(NamedTuple):
    """Where a convolution is among those whose currents are added, in pixels.

    Attributes:
        before: rows and columns of zeros before its input.
        offset: rows and columns of zeros before its kernel.
    """

    before: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Stage:
    """Convolutions or linear layers, whose currents are added, their pooling, and the neurons that receive the sum.

    Attributes:
        sources: the convolutions or linear layers whose inputs are put side by side.
        places: where each of them is, if they are convolutions.
        shortcuts: convolutions with kernels of one pixel, whose currents are added after the pool.
        weights: the one whose kernel, padding and input are the largest.
        direct: the image, or the neurons whose spikes the only source reads, and reads as they are; None: it reads
            others, or there are several.
        pooling: the pool of the currents; None: none.
        neurons: the neurons.
        recurrent: the weights of their own spikes of the step before; None: there are none.
    """

    sources: tuple[WeightedNode, ...]
    places: tuple[Place, ...]
    shortcuts: tuple[WeightedNode, ...]
    weights: WeightedNode
    direct: Node | None
    pooling: Node | None
    neurons: NeuronNode
    recurrent: WeightedNode | None = None

    @property
    def weighted(self) -> tuple[WeightedNode, ...]:
        """All convolutions or linear layers but the recurrent one."""
        return (*self.sources, *self.shortcuts)

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
    if neurons.operation.separate and len(neurons.inputs) > 1:
        inputs = " and ".join(map(str, neurons.inputs))
        raise Unsupported(f"the event engine adds currents first, not one by one, but {neurons.name} reads {inputs}")
    own = (Edge(neurons.name, 1),)
    currents = list(_currents(graph, neurons))
    recurrent = [node for node, _ in currents if node.inputs == own and not node.is_convolution]
    currents = [(node, pool) for node, pool in currents if node not in recurrent]
    if len(recurrent) > 1 or not currents:
        names = " and ".join(node.name for node in recurrent)
        raise Unsupported(f"the event engine takes one recurrent input besides others, but {neurons.name} has {names}")
    earlier = [IMAGE, *(node.name for node in graph.neurons[: graph.neurons.index(neurons)])]
    for node, _ in currents:
        for edge in graph.reads(node):
            if edge.source not in earlier:
                own_only = "the event engine only feeds a linear layer's spikes of the step before back to itself"
                raise Unsupported(f"{own_only}, but {node.name} reads {edge}")
    pools = {pool.name: pool for _, pool in currents if pool}
    if len(pools) > 1:
        raise Unsupported(f"the event engine doesn't add pools of currents, such as {' and '.join(pools)}")
    pooling = next(iter(pools.values()), None)
    main = [node for node, pool in currents if pool is pooling]
    weights, direct = max(main, key=lambda node: node.kernel_shape[0] * node.is_convolution), None
    shortcuts = [node for node, pool in currents if node is not weights and pool is None and _is_pointwise(node)]
    sources = tuple(node for node, _ in currents if node not in shortcuts)
    if others := [node for node in sources if node not in main]:
        both = f"{others[0].name} and {weights.name}"
        raise Unsupported(f"the event engine doesn't add the currents of {both}, of which only one is pooled")
    if len(sources) == 1 and _is_direct(graph, weights):
        (edge,) = graph.reads(weights)
        direct = None if edge.delay else graph[edge.source]
    places = tuple(_place(node, weights) for node in sources if node.is_convolution)
    return Stage(sources, places, tuple(shortcuts), weights, direct, pooling, neurons, next(iter(recurrent), None))


def _is_pointwise(node: WeightedNode) -> bool:
    operation = node.operation
    return isinstance(operation, Convolution) and operation.kernel == operation.stride == 1


def _currents(graph: Graph, node: Node, pool: Node | None = None) -> Iterator[tuple[WeightedNode, Node | None]]:
    """The weighted nodes whose currents a node adds, with the pool on the way, if any."""
    for edge in node.inputs:
        source = graph[edge.source]
        if edge.delay:
            raise Unsupported(f"the event engine delays spikes, not currents, but {node.name} reads {edge}")
        if isinstance(source, WeightedNode):
            yield source, pool
        elif pool:
            raise Unsupported(f"the event engine pools a current once, but {pool.name} reads {source.name}")
        else:
            yield from _currents(graph, source, source)


def _is_direct(graph: Graph, node: Node) -> bool:
    """Whether a node reads one other as it is, or flattened."""
    sources = [graph[edge.source] for edge in node.inputs]
    if len(sources) > 1 or isinstance(sources[0].operation, Pooling):
        return False
    return not isinstance(sources[0].operation, Flatten) or _is_direct(graph, sources[0])


def _place(node: WeightedNode, widest: WeightedNode) -> Place:
    """Where a convolution is in the widest one."""
    if node is widest:
        return Place()
    own, other = node.operation, widest.operation
    assert isinstance(own, Convolution) and isinstance(other, Convolution)
    inside = other.padding - own.padding
    if own.kernel + 2 * inside > other.kernel:  # otherwise its input fits, too, because their outputs are equally large
        both = f"{node.name} and {widest.name}"
        raise Unsupported(f"the event engine doesn't add the currents of {both}, whose kernels don't fit")
    return Place(max(0, -inside), max(0, inside))


def terms(graph: Graph, node: Node, planes: int) -> list[tuple[float, ...]]:
    """What the bits of each term of the sum that a node reads count; the image has counts of `planes` bits.

    Raises:
        Unsupported: the kernels can't pool a sum.
    """
    factors: list[tuple[float, ...]] = []
    for edge in node.inputs:
        source = graph[edge.source]
        if isinstance(pool := source.operation, Pooling):
            factors += _pooled(source.name, pool, terms(graph, source, planes))
        elif isinstance(source.operation, Flatten):
            factors += terms(graph, source, planes)
        else:
            factors.append((1.0,) if source.operation else tuple(2.0**plane for plane in range(planes)))
    if len({len(weights) for weights in factors}) > 1:
        raise Unsupported(f"the event engine doesn't add frames of counts to spikes, as in {node.name}")
    return factors


def _pooled(name: str, pool: Pooling, factors: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """The terms of a pool of spikes."""
    if pool.kind != "max":
        if pool.stride != pool.size:
            raise Unsupported(f"the event engine adds spikes in separate windows, but {name} is {pool}")
        return [tuple(pool.step * weight for weight in weights) for weights in factors for _ in range(pool.window)]
    if len({weight for weights in factors for weight in weights}) > 1:
        raise Unsupported(f"the event engine finds maxima of sums of spikes, but {name} reads averages or counts")
    if len(factors) > (most := library.limits().added):
        raise Unsupported(f"the event engine finds maxima of up to {most} spikes, but {name} adds {len(factors)}")
    return factors


def holds(graph: Graph, stage: Stage, frames: bool) -> bool:
    """Whether a stage reads an image that's the same at every step."""
    return not frames and any(edge.source == IMAGE for node in stage.weighted for edge in graph.reads(node))


def passes_to(graph: Graph, stage: Stage) -> Stage | None:
    """The only stage that reads a stage's spikes, if it reads them as they are, and nothing else."""
    readers = [
        other
        for other in stages(graph)
        if any(edge.source == stage.neurons.name for node in other.weighted for edge in graph.reads(node))
    ]
    return readers[0] if len(readers) == 1 and readers[0].direct is stage.neurons else None


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
            _check_sources(model.config.graph, stage, frames, planes)
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


def _check_sources(graph: Graph, stage: Stage, frames: bool, planes: int) -> None:
    """Raises Unsupported unless the kernels can run the weights of a stage on what they read."""
    if holds(graph, stage, frames):
        for node in stage.weighted:
            if other := next((edge for edge in graph.reads(node) if edge != Edge(IMAGE)), None):
                raise Unsupported(f"the event engine adds nothing to a constant image, but {node.name} reads {other}")
        inputs = sum(graph.entering(node)[-1] for node in stage.sources)
    else:
        channels = {node: (graph.entering(node)[-1], terms(graph, node, planes)) for node in stage.weighted}
        summed = [channels[node] for node in stage.sources]
        inputs = sum(padded(len(weights) * wide) for wide, parts in summed for weights in parts)
    for node in stage.weighted:
        if isinstance(node.operation, Convolution):
            _check_convolution(node.name, node.operation)
    if stage.pool and stage.pooling:
        _check_pool(stage.pooling.name, stage.pool)
    most = library.limits().inputs
    if stage.convolution and stage.convolution.kernel**2 * padded(inputs) > most:
        channels_in = graph.entering(stage.weights)[-1]
        raise Unsupported(f"the event engine sums at most {most:,} inputs, but {stage.name} has {channels_in} channels")


def _check_convolution(name: str, convolution: Convolution) -> None:
    """Raises Unsupported unless the kernels can run this convolution."""
    sizes = library.limits().kernel_sizes
    if convolution.stride != 1:
        raise Unsupported(f"the event engine supports stride 1, but {name} has stride {convolution.stride}")
    if convolution.kernel not in sizes:
        raise Unsupported(
            f"the event engine supports kernels of up to {max(sizes)} pixels, but {name} has {convolution.kernel}"
        )
    if 2 * convolution.padding >= convolution.kernel:
        raise Unsupported(
            f"the event engine pads by less than half the kernel, but {name} has padding {convolution.padding}"
        )


def _check_pool(name: str, pool: Pooling) -> None:
    """Raises Unsupported unless the kernels can pool currents like this."""
    if pool.size not in library.limits().pool_sizes or pool.stride != pool.size:
        raise Unsupported(f"the event engine supports 2x2 pooling of currents or none, but {name} is {pool}")
    if pool.kind == "sum":
        raise Unsupported(f"the event engine doesn't support sum pooling of currents, as in {name}")


def planes_of(model: CSNN) -> int:
    """Bits of a sequence's numbers: encodings produce spikes, frames have counts."""
    return library.limits().count_planes if model.config.encoding == "direct" else 1
