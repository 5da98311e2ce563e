"""The graph's operations in JAX, with the parameters of a network's blocks."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from jax import Array

from csnn_jax.config.graph import Convolution, Graph, Node, Pooling
from csnn_jax.network import layers
from csnn_jax.network.neuron import Operations, fire
from csnn_jax.neurons.neuron import Neurons, State, Values
from csnn_jax.window import Library


class Jax(Operations, Library):
    """JAX's operations, channels last, for a network.

    Args:
        graph: its graph.
        blocks: its blocks, see `csnn_jax.network.model.Block`.

    Attributes:
        parameters: the parameters of each node by name. A bias is added by the pool after its convolution, where its
            gradient is cheaper to compute.
    """

    def __init__(self, graph: Graph, blocks: Iterable[Any]):
        self.parameters: dict[str, dict[str, Any]] = {}
        self._blocks = {block.neurons.name: block for block in blocks}
        for name, block in self._blocks.items():
            last = graph.source(graph[name])
            self.parameters[block.weights.name] = {
                "weight": block.kernel[...],
                "after_spikes": graph.multiplies_spikes(block.weights),
            }
            self.parameters.setdefault(last.name, {})["bias"] = block.biases
            self.parameters[name] = block.in_use

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
        derivative = self._blocks[node.name].derivative
        return fire(neurons.kind, own, state, current, neurons.reset, derivative)
