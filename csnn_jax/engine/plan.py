"""What the event engine's kernels run at once: the nodes of a graph, grouped into stages."""

from dataclasses import dataclass
from functools import lru_cache

from csnn_jax.config.graph import Convolution, Flatten, Graph, NeuronNode, Node, Pooling, WeightedNode
from csnn_jax.engine.library import Unsupported


@dataclass(frozen=True)
class Stage:
    """A convolution and its pooling, or a linear layer, and the neurons that receive its output as current.

    Attributes:
        source: the image, or the neurons whose spikes it reads.
        weights: the convolution or linear layer.
        pooling: the pool of its output; None: none.
        neurons: the neurons.
    """

    source: Node
    weights: WeightedNode
    pooling: Node | None
    neurons: NeuronNode

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
    weights = graph.weights(neurons)
    for node in graph.path(weights):
        if not isinstance(node.operation, Flatten):
            raise Unsupported(
                f"the event engine only pools before the neurons, but {node.name} pools spikes (--pool-after); "
                "--engine scan does both"
            )
    pools = (node for node in graph.readers(weights) if isinstance(node.operation, Pooling))
    return Stage(graph.origin(weights), weights, next(pools, None), neurons)


def reader(graph: Graph, stage: Stage) -> Stage | None:
    """The stage that reads a stage's spikes; None: they are the network's output."""
    return next((other for other in stages(graph) if other.source is stage.neurons), None)
