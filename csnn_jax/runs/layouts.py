"""Names, shapes and layouts of a network's parameters. Imports no framework, and reads no file.

Our own layout of a kernel is [k, k, in, out] or [in, out], with a flattened input in H, W, C order; torch's, which
`weights.safetensors` has, is [out, in, k, k] or [out, in], flattened in C, H, W order.
"""

from collections.abc import Callable

import numpy as np

from csnn_jax.config import Layer, ModelConfig

Tensors = dict[str, np.ndarray]
"""Parameters in torch's names and layouts: `conv1.weight`, `conv1.bias`, `lif1.beta`, ..."""
Arrays = dict[str, np.ndarray]
"""Parameters in our own layout: `conv1.kernel`, `conv1.bias`, `lif1.beta`, ..."""


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in the file of a model, in order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in config.layers:
        *window, inputs, out = layer.kernel_shape
        shapes[f"{layer.name}.weight"] = (out, inputs, *window)
        if layer.bias:
            shapes[f"{layer.name}.bias"] = (out,)
        shapes |= dict.fromkeys(layer.neurons.initial, ())
    return shapes


def bias_of(layer: Layer, tensors: Tensors) -> np.ndarray:
    """The bias of a layer [out]: zeros where it has none."""
    return tensors[f"{layer.name}.bias"] if layer.bias else np.zeros(layer.channels, np.float32)


def on_grid(config: ModelConfig, tensors: Tensors) -> Tensors:
    """The network as it runs, evaluates and is exported: weights and biases rounded to their grids (`Layer.grid`)."""
    rounded = dict(tensors)
    for layer in config.layers:
        weight, bias = f"{layer.name}.weight", f"{layer.name}.bias"
        values = tensors[weight]
        kernel, biases = layer.grid.round(np.moveaxis(values, 0, -1), bias_of(layer, tensors).astype(values.dtype))
        rounded[weight] = np.ascontiguousarray(np.moveaxis(kernel, -1, 0))
        if layer.bias:
            rounded[bias] = biases
    return rounded


def to_torch(layer: Layer, kernel: np.ndarray) -> np.ndarray:
    """A kernel of ours in torch's layout."""
    if layer.kind == "conv":
        return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    out = kernel.shape[-1]
    if len(layer.in_shape) == 3:  # flattened H, W, C here and C, H, W there
        return np.ascontiguousarray(kernel.reshape(*layer.in_shape, out).transpose(3, 2, 0, 1)).reshape(out, -1)
    return np.ascontiguousarray(kernel.T)


def from_torch(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """A weight in torch's layout as a kernel of ours: the inverse of `to_torch`."""
    if layer.kind == "conv":
        return np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
    out = weight.shape[0]
    if len(layer.in_shape) == 3:
        height, width, channels = layer.in_shape
        weight = weight.reshape(out, channels, height, width).transpose(2, 3, 1, 0).reshape(-1, out)
        return np.ascontiguousarray(weight)
    return np.ascontiguousarray(weight.T)


def to_tensors(config: ModelConfig, arrays: Arrays) -> Tensors:
    """All parameters of a network in torch's layout."""
    return _converted(config, arrays, "kernel", "weight", to_torch)


def from_tensors(config: ModelConfig, tensors: Tensors) -> Arrays:
    """All parameters of a network in our layout: the inverse of `to_tensors`."""
    return _converted(config, tensors, "weight", "kernel", from_torch)


def _converted(
    config: ModelConfig,
    values: dict[str, np.ndarray],
    old: str,
    new: str,
    convert: Callable[[Layer, np.ndarray], np.ndarray],
) -> dict[str, np.ndarray]:
    layers = {f"{layer.name}.{old}": layer for layer in config.layers}
    found = {}
    for name, value in values.items():
        if layer := layers.get(name):
            found[f"{layer.name}.{new}"] = convert(layer, value)
        else:
            found[name] = value
    return found
