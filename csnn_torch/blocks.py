"""The modules of torch that a block has before its neurons. Imports no snnTorch, for exports are made of them too."""

import math

from torch import nn

from csnn_jax.config import Layer


def before_neurons(layer: Layer, number: int, bias: bool) -> dict[str, nn.Module]:
    """The modules that make a block's current, in order, by their names: `conv1`, `pool1`, or `flatten3`, `fc1`.

    Args:
        layer: the block's geometry.
        number: of the block, from 1.
        bias: whether the convolution or linear layer adds one, of which the layer itself may have none.
    """
    if layer.kind == "linear":
        linear = {layer.name: nn.Linear(math.prod(layer.in_shape), layer.channels, bias)}
        return {f"flatten{number}": nn.Flatten()} | linear if len(layer.in_shape) == 3 else linear
    sizes = layer.kernel, layer.stride, layer.padding
    modules: dict[str, nn.Module] = {layer.name: nn.Conv2d(layer.in_shape[-1], layer.channels, *sizes, bias=bias)}
    if layer.pool is not None:
        pool = nn.MaxPool2d if layer.pool.kind == "max" else nn.AvgPool2d
        modules[f"pool{number}"] = pool(layer.pool.size, layer.pool.stride)
    return modules
