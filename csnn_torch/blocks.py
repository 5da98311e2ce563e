"""The modules of a block before its neurons."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from csnn_jax.config.graph import Pooling
from csnn_jax.config.layers import Layer


class SumPool2d(nn.AvgPool2d):
    """Sums every window of size x size pixels: the average times the number of pixels, a power of two.

    Attributes:
        pixels: a tensor, not a number, so it keeps its name in graphs.
    """

    pixels: Tensor

    def __init__(self, size: int, stride: int):
        super().__init__(size, stride)
        self.register_buffer("pixels", torch.tensor(float(size**2)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.pixels


POOLS: dict[str, Callable[[int, int], nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d, "sum": SumPool2d}


def before_neurons(layer: Layer, number: int, bias: bool) -> dict[str, nn.Module]:
    """The modules that compute a block's current, in order, by name: `conv1`, `pool1`, or `flatten3`, `fc1`.

    If pools follow neurons, a block begins with the pool of the previous one.

    Args:
        layer: the block's geometry.
        number: number of the block, from 1.
        bias: whether the convolution or linear layer adds a bias, even if the network has none.
    """
    modules: dict[str, nn.Module] = {}
    if layer.before is not None:
        modules[f"pool{number - 1}"] = _pool(layer.before)
    if layer.kind == "linear":
        if len(layer.in_shape) == 3:
            modules[f"flatten{number}"] = nn.Flatten()
        modules[layer.name] = nn.Linear(math.prod(layer.in_shape), layer.channels, bias)
        return modules
    sizes = layer.kernel, layer.stride, layer.padding
    modules[layer.name] = nn.Conv2d(layer.in_shape[-1], layer.channels, *sizes, bias=bias)
    if layer.pool is not None:
        modules[f"pool{number}"] = _pool(layer.pool)
    return modules


def _pool(pool: Pooling) -> nn.Module:
    return POOLS[pool.kind](pool.size, pool.stride)
