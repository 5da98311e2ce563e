"""The graph's operations in JAX, with a network's parameters."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from jax import Array

from csnn_jax.config.graph import Edge, Graph, Node, WeightedNode
from csnn_jax.config.operations import Convolution, Pooling
from csnn_jax.network import layers
from csnn_jax.network.neuron import Operations, fire, spikes
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
        for module in nodes:
            node = module.node
            if isinstance(node, WeightedNode):
                weight = {"weight": module.kernel[...], "after_spikes": graph.multiplies_spikes(node)}
                readers = graph.readers(node)
                alone = len(readers) == 1 and readers[0].inputs == (Edge(node.name),)
                pooled = alone and isinstance(readers[0].operation, Pooling)
                self.parameters[node.name] = weight
                self.parameters.setdefault(readers[0].name if pooled else node.name, {})["bias"] = module.biases
            else:
                self.parameters[node.name], self._derivatives[node.name] = module.in_use, module.derivative

    def convolution(self, operation: Convolution, parameters: Values, x: Array) -> Array:
        """A convolution with weights [k, k, in, out]."""
        y = layers.conv(x, parameters["weight"], operation.stride, operation.padding, parameters["after_spikes"])
        return y + parameters["bias"] if "bias" in parameters else y

    def linear(self, parameters: Values, x: Array) -> Array:
        """A product with weights [in, out]."""
        product = layers.linear if parameters["after_spikes"] else layers.matmul
        return product(x, parameters["weight"]) + parameters["bias"]

    def pool(self, operation: Pooling, parameters: Values, x: Array) -> Array:
        """Pooling, after adding the bias of a convolution."""
        bias = parameters["bias"] if "bias" in parameters else jnp.zeros(x.shape[-1:], x.dtype)
        return layers.pool(x, bias, operation)

    def flatten(self, x: Array) -> Array:
        """Features in H, W, C order."""
        return x.reshape(x.shape[0], -1)

    def fire(self, node: Node, parameters: Values, state: State, currents: tuple[Array, ...]) -> tuple[State, Array]:
        """One step of neurons; their spikes have the surrogate's gradient."""
        neurons = node.operation
        assert isinstance(neurons, Neurons)
        return fire(neurons.kind, parameters, state, currents, neurons.reset, self._derivatives[node.name])

    def spikes(self, node: Node, parameters: Values, state: State) -> Array:
        """The spikes of a step, with the surrogate's gradient."""
        neurons = node.operation
        assert isinstance(neurons, Neurons)
        return spikes(neurons.kind, parameters, state, self._derivatives[node.name])
