"""Networks in plain torch, without snnTorch: the array library of the exports and of the tools that explain them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from csnn_jax.config.graph import IMAGE, Graph, Node
from csnn_jax.config.operations import Convolution, Pooling, Weighted
from csnn_jax.neurons.neuron import Neurons, Values
from csnn_jax.window import Library, Parameters, Step, start, window


class Torch(Library):
    """Torch's operations, channels first. Spikes are 0.0 or 1.0.

    Args:
        dtype: of all values.
    """

    def __init__(self, dtype: torch.dtype = torch.float32):
        self.dtype = dtype

    def parameters(self, graph: Graph, tensors: Mapping[str, np.ndarray]) -> dict[str, dict[str, Tensor]]:
        """A network's parameters by node; missing biases are 0, which changes no bit.

        Args:
            graph: the network.
            tensors: its parameters in torch's layouts.
        """
        named: dict[str, dict[str, Tensor]] = {}
        for node in graph:
            if isinstance(node.operation, Weighted):
                weight = torch.tensor(tensors[f"{node.name}.weight"], dtype=self.dtype)
                bias = tensors.get(f"{node.name}.bias")
                zeros = torch.zeros(len(weight), dtype=self.dtype)
                named[node.name] = {
                    "weight": weight,
                    "bias": zeros if bias is None else torch.tensor(bias, dtype=self.dtype),
                }
            elif isinstance(node.operation, Pooling) and node.operation.kind == "sum":
                named[node.name] = {"pixels": torch.tensor(float(node.operation.window), dtype=self.dtype)}
            elif isinstance(node.operation, Neurons):
                values = node.operation.values(tensors)
                named[node.name] = {name: self.value(node, name, value) for name, value in values.items()}
        return named

    def value(self, node: Node, name: str, value: Any) -> Tensor:
        """A neuron's parameter: a scalar, or [channels, 1, 1] or [features], rounded to float32."""
        typed = torch.tensor(value, dtype=torch.float32).to(self.dtype)
        return typed.reshape(-1, *[1] * (len(node.shape) - 1)) if typed.ndim else typed

    def run(self, graph: Graph, parameters: Parameters, x: Tensor, time_steps: int) -> Iterator[Step]:
        """The steps of a window from states of 0, see `window`."""
        batch = x.shape[-1 - len(graph[IMAGE].shape)]
        carry = start(graph, lambda node: torch.zeros(batch, node.shape[-1], *node.shape[:-1], dtype=self.dtype))
        return window(graph, self, parameters, carry, x, time_steps)

    def convolution(self, operation: Convolution, own: Values, x: Tensor) -> Tensor:
        """A convolution with weights [out, in, k, k]."""
        return functional.conv2d(x, own["weight"], own["bias"], operation.stride, operation.padding)

    def linear(self, own: Values, x: Tensor) -> Tensor:
        """A product with weights [out, in]."""
        return functional.linear(x, own["weight"], own["bias"])

    def pool(self, operation: Pooling, own: Values, x: Tensor) -> Tensor:
        """Pooling; a sum is the average times the number of pixels, a power of two."""
        if operation.kind == "max":
            return functional.max_pool2d(x, operation.size, operation.stride)
        average = functional.avg_pool2d(x, operation.size, operation.stride)
        return average * own["pixels"] if operation.kind == "sum" else average

    def flatten(self, x: Tensor) -> Tensor:
        """Features in C, H, W order."""
        return x.flatten(1)

    def fired(self, membrane: Tensor, threshold: Tensor) -> Tensor:
        """1 for membranes above the threshold, else 0."""
        return (membrane > threshold).to(membrane.dtype)

    def masked(self, fired: Tensor, x: Tensor) -> Tensor:
        """x if a neuron fired, else 0: a product, which more tools support than a conditional."""
        return fired * x

    def decayed(self, factor: Tensor, x: Tensor) -> Tensor:
        """The product, rounded before anything is added to it."""
        return factor * x
