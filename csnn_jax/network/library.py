"""The graph's operations in JAX, with a network's parameters."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from jax import Array

from csnn_jax.config.graph import Convolution, Graph, Node, Pooling, WeightedNode
from csnn_jax.network import layers
from csnn_jax.network.neuron import Operations, fire
from csnn_jax.neurons.neuron import Neurons, State, Values
from csnn_jax.window import Library


class Jax(Operations, Library):
    """JAX's operations, channels last, for a network.

    Args:
        graph: its graph.
        nodes: the parameters of its nodes, see `csnn_jax.network.model.CSNN`.

    Attributes:
        parameters: the parameters of each node by name. A bias is added by the pool after its convolution, where its
            gradient is cheaper to compute.
    """

    def __init__(self, graph: Graph, nodes: Iterable[Any]):
        self.parameters: dict[str, dict[str, Any]] = {}
        self._derivatives = {}
        for own in nodes:
            node = own.node
            if isinstance(node, WeightedNode):
                weight = {"weight": own.kernel[...], "after_spikes": graph.multiplies_spikes(node)}
                pools = (one for one in graph.readers(node) if isinstance(one.operation, Pooling))
                self.parameters[node.name] = weight
                self.parameters.setdefault(next(pools, node).name, {})["bias"] = own.biases
            else:
                self.parameters[node.name], self._derivatives[node.name] = own.in_use, own.derivative

    def convolution(self, operation: Convolution, own: Values, x: Array) -> Array:
        """A convolution with weights [k, k, in, out]."""
        y = layers.conv(x, own["weight"], operation.stride, operation.padding, own["after_spikes"])
        return y + own["bias"] if "bias" in own else y

    def linear(self, own: Values, x: Array) -> Array:
        """A product with weights [in, out]."""
        product = layers.linear if own["after_spikes"] else layers.matmul
        return product(x, own["weight"]) + own["bias"]

    def pool(self, operation: Pooling, own: Values, x: Array) -> Array:
        """Pooling, after adding the bias of a convolution."""
        bias = own["bias"] if "bias" in own else jnp.zeros(x.shape[-1:], x.dtype)
        return layers.pool(x, bias, operation)

    def flatten(self, x: Array) -> Array:
        """Features in H, W, C order."""
        return x.reshape(x.shape[0], -1)

    def fire(self, node: Node, own: Values, state: State, current: Array) -> tuple[State, Array]:
        """One step of neurons; their spikes have the surrogate's gradient."""
        neurons = node.operation
        assert isinstance(neurons, Neurons)
        return fire(neurons.kind, own, state, current, neurons.reset, self._derivatives[node.name])
