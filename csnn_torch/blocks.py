"""The modules of torch that a block has before its neurons. Imports no snnTorch, for exports are made of them too."""

import math

from torch import nn

from csnn_jax.config.geometry import Layer


def before_neurons(layer: Layer, number: int, bias: bool) -> dict[str, nn.Module]:
    """The modules that make a block's current, in order, by their names: `conv1`, `pool1`, or `flatten3`, `fc1`.

    Args:
        layer: the block's geometry.
        number: of the block, from 1.
        bias: whether the convolution or linear layer adds one, of which the layer itself may have none.
    """
    modules: dict[str, nn.Module] = {}
    if layer.kind == "linear":
        if len(layer.in_shape) == 3:
            modules[f"flatten{number}"] = nn.Flatten()
        modules[layer.name] = nn.Linear(math.prod(layer.in_shape), layer.channels, bias)
        return modules
    sizes = layer.kernel, layer.stride, layer.padding
    modules[layer.name] = nn.Conv2d(layer.in_shape[-1], layer.channels, *sizes, bias=bias)
    if layer.pool is not None:
        pool = nn.MaxPool2d if layer.pool.kind == "max" else nn.AvgPool2d
        modules[f"pool{number}"] = pool(layer.pool.size, layer.pool.stride)
    return modules
