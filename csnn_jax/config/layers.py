"""A graph's blocks of weights, pools and neurons, for code that goes through a chain layer by layer."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from csnn_jax.config.graph import Convolution, Flatten, Graph, Linear, Node, Pooling
from csnn_jax.config.grid import Grid
from csnn_jax.neurons.neuron import Neurons


@dataclass(frozen=True)
class Layer:
    """One block of the stack: convolution, pooling and neurons, or a linear layer and neurons.

    Attributes:
        weights: the node of its convolution or linear layer.
        neurons: the neurons that receive its output as current.
        in_shape: shape of its input without the batch, after `before`: (H, W, C) or (features,). A linear block
            flattens it, in H, W, C order.
        out_shape: shape of its membrane and spikes without the batch: (rows, columns, channels) or (features,).
        pool: the pooling after the convolution; None: none.
        before: the pooling of the incoming spikes, if pools follow neurons; None: none.
    """

    weights: Node
    neurons: Neurons
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    pool: Pooling | None = None
    before: Pooling | None = None

    @property
    def name(self) -> str:
        """Name of its weights, `conv1`, `conv2`, ..., `fc1`, ..."""
        return self.weights.name

    @property
    def kind(self) -> Literal["conv", "linear"]:
        """What its weights are."""
        return "conv" if isinstance(self.weights.operation, Convolution) else "linear"

    @property
    def channels(self) -> int:
        """Output channels, or neurons of a linear block."""
        return self.weights.kernel_shape[-1]

    @property
    def _convolution(self) -> Convolution:
        operation = self.weights.operation
        return operation if isinstance(operation, Convolution) else Convolution(self.channels, 1)

    @property
    def kernel(self) -> int:
        """Height and width of a convolution's kernel, in pixels."""
        return self._convolution.kernel

    @property
    def stride(self) -> int:
        """Stride of the convolution, in pixels."""
        return self._convolution.stride

    @property
    def padding(self) -> int:
        """Zeros on every side of the input, in pixels."""
        return self._convolution.padding

    @property
    def bias(self) -> bool:
        """Whether each output channel has a bias."""
        assert isinstance(self.weights.operation, Convolution | Linear)
        return self.weights.operation.bias

    @property
    def conv_shape(self) -> tuple[int, ...]:
        """Shape before pooling: (rows, columns, channels), or (features,) for a linear block."""
        return self.weights.shape

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Shape of its weights in this package's layout: [k, k, in, out] or [in, out]."""
        return self.weights.kernel_shape

    @property
    def grid(self) -> Grid:
        """The grid that its weights are rounded to."""
        assert self.weights.grid is not None
        return self.weights.grid

    @property
    def weight_bits(self) -> int | None:
        """Maximum bits of a weight, including its sign; None: as many as stay exact."""
        return None if self.grid.most is None else self.grid.most + 1

    @property
    def operation(self) -> str:
        """The operations before the neurons, in words."""
        bias = "" if self.bias else ", no bias"
        before = f"pool {self.before}, " if self.before else ""
        if self.kind == "linear":
            return f"{before}linear{bias}"
        padded = f"padding {self.padding}" if self.padding else "no padding"
        pooled = f"pool {self.pool}" if self.pool else "no pool"
        return f"{before}kernel {self.kernel}, stride {self.stride}, {padded}, {pooled}{bias}"

    def __str__(self) -> str:
        return f"{self.name}: {self.operation}"


@lru_cache(256)
def layers_of(graph: Graph) -> tuple[Layer, ...]:
    """The blocks of a chain in order."""
    return tuple(_layer(graph, firing) for firing in graph.neurons)


def _layer(graph: Graph, firing: Node) -> Layer:
    nodes = graph.path(firing)
    (number,) = (number for number, node in enumerate(nodes) if node.grid is not None)
    entering = graph.source(nodes[number])
    if isinstance(entering.operation, Flatten):
        entering = graph.source(entering)
    assert isinstance(firing.operation, Neurons)
    pools = _pool(nodes[number:]), _pool(nodes[:number])
    return Layer(nodes[number], firing.operation, entering.shape, firing.shape, *pools)


def _pool(nodes: Iterable[Node]) -> Pooling | None:
    """The pool among some nodes."""
    return next((node.operation for node in nodes if isinstance(node.operation, Pooling)), None)
