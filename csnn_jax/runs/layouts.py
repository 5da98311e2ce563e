"""Names, shapes and layouts of a network's parameters. Imports no framework and reads no files.

Our kernel layout is [k, k, in, out] or [in, out], with a flattened input in H, W, C order. torch's, which
`weights.safetensors` uses, is [out, in, k, k] or [out, in], flattened in C, H, W order.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from csnn_jax.config.grid import SMALLEST
from csnn_jax.config.layers import Layer
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.neuron_checks import THRESHOLDS, is_threshold
from csnn_jax.errors import UserError

Tensors = dict[str, np.ndarray]
"""Parameters with torch's names and layouts: `conv1.weight`, `conv1.bias`, `lif1.beta`, ..."""
Arrays = dict[str, np.ndarray]
"""Parameters in our own layout: `conv1.kernel`, `conv1.bias`, `lif1.beta`, ..."""


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in a model's file, in order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in config.layers:
        *window, inputs, out = layer.kernel_shape
        shapes[f"{layer.name}.weight"] = (out, inputs, *window)
        if layer.bias:
            shapes[f"{layer.name}.bias"] = (out,)
        if layer.grid.chosen:
            shapes[f"{layer.name}.exponents"] = (out,)
        shapes |= layer.neurons.shapes
    return shapes


def out_of_range(config: ModelConfig, name: str, values: np.ndarray) -> str | None:
    """Why the network wouldn't be exact with these values of a tensor (docs/design.md, section 2); None: it would."""
    owner, _, part = name.rpartition(".")
    if part == "threshold":
        outside, expected = ~is_threshold(values), f"magnitudes {THRESHOLDS}"
    elif part in ("weight", "bias", "exponents"):
        grid = next(layer.grid for layer in config.layers if layer.name == owner)
        if part == "exponents":
            most = grid.largest_exponent
            outside, expected = (values < SMALLEST) | (values > most), f"whole numbers from {SMALLEST} to {most}"
        else:
            below = grid.below[part == "bias"]
            outside, expected = abs(values) >= below, f"magnitudes below 2^{math.log2(below):.0f}"
    else:
        return None
    return f"has a value of {values[outside][0]:g}, expected {expected}" if outside.any() else None


def bias_of(layer: Layer, tensors: Tensors) -> np.ndarray:
    """The bias of a layer [out]; zeros if it has none."""
    return tensors[f"{layer.name}.bias"] if layer.bias else np.zeros(layer.channels, np.float32)


def on_grid(config: ModelConfig, tensors: Tensors) -> Tensors:
    """The network as it runs, evaluates and is exported: weights and biases rounded to their grids (`Layer.grid`).

    Chosen exponents of grids are kept; missing ones are chosen.

    Raises:
        UserError: all weights of a layer become 0.
    """
    rounded = with_exponents(config, tensors)
    for layer in config.layers:
        weight, bias = f"{layer.name}.weight", f"{layer.name}.bias"
        values, biases = _for_grid(layer, tensors)
        exponents = rounded[f"{layer.name}.exponents"].astype(np.int32) if layer.grid.chosen else None
        kernel, biases = layer.grid.round(values, biases, exponents=exponents)
        if values.any() and not kernel.any():
            raise UserError(f"{layer.name}: all weights become 0 with {layer.weight_bits} bits, expected more bits")
        rounded[weight] = np.ascontiguousarray(np.moveaxis(kernel, -1, 0))
        if layer.bias:
            rounded[bias] = biases
    return rounded


def with_exponents(config: ModelConfig, tensors: Tensors) -> Tensors:
    """A network's parameters, with chosen exponents of grids: the given ones, or else the best."""
    made = {}
    for name in expected_shapes(config):
        layer = next((layer for layer in config.layers if name == f"{layer.name}.exponents"), None)
        if layer is None or name in tensors:
            made[name] = tensors[name]
        else:
            values, biases = _for_grid(layer, tensors)
            made[name] = layer.grid.choose(values, biases).astype(values.dtype)
    return made


def _for_grid(layer: Layer, tensors: Tensors) -> tuple[np.ndarray, np.ndarray]:
    """Weights [..., out] and biases of a layer."""
    values = np.moveaxis(tensors[f"{layer.name}.weight"], 0, -1)
    return values, bias_of(layer, tensors).astype(values.dtype)


def units(layer: Layer, tensors: Tensors) -> tuple[np.ndarray, np.ndarray]:
    """A layer's few-bit weights as integers, int8 in torch's layout, and each neuron's step, float32 [out].

    Args:
        layer: a layer with `weight_bits`.
        tensors: parameters on their grids.
    """
    kernel, bias = _for_grid(layer, tensors)
    steps = layer.grid.steps(kernel, bias, tensors[f"{layer.name}.exponents"] if layer.grid.chosen else None)
    whole = (kernel / steps).astype(np.int8)
    assert np.array_equal(whole * steps, kernel), f"{layer.name} isn't on its grid"
    return np.ascontiguousarray(np.moveaxis(whole, -1, 0)), steps


def with_bits(config: ModelConfig, tensors: Tensors, bits: int | None) -> tuple[ModelConfig, Tensors]:
    """A network rounded to `bits` per weight, including the sign; None: as many as stay exact.

    Raises:
        UserError: the number of bits is invalid, or all weights of a layer become 0.
    """
    fewer = replace(config, weight_bits=bits)
    return fewer, on_grid(fewer, {name: value for name, value in tensors.items() if not name.endswith(".exponents")})


def parameters(tensors: Tensors) -> int:
    """The number of parameters, without exponents of grids."""
    return sum(value.size for name, value in tensors.items() if not name.endswith(".exponents"))


def kilobytes(config: ModelConfig, tensors: Tensors) -> float:
    """Packed size of the parameters: weights in their bits, one byte per exponent, four per other number."""
    bits = 0
    for name, value in tensors.items():
        layer = next((layer for layer in config.layers if name.startswith(f"{layer.name}.")), None)
        each = 8 if name.endswith(".exponents") else 32
        if layer and name.endswith(".weight"):
            each = min(32, layer.grid.finest + 1)
            bits += 8 * layer.channels * (not layer.grid.chosen)  # the largest weight's exponent
        bits += each * value.size
    return bits / 8000


def to_torch(layer: Layer, kernel: np.ndarray) -> np.ndarray:
    """Converts one of our kernels to torch's layout."""
    if layer.kind == "conv":
        return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    out = kernel.shape[-1]
    if len(layer.in_shape) == 3:  # flattened H, W, C here and C, H, W there
        return np.ascontiguousarray(kernel.reshape(*layer.in_shape, out).transpose(3, 2, 0, 1)).reshape(out, -1)
    return np.ascontiguousarray(kernel.T)


def from_torch(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """Converts a weight from torch's layout to ours: the inverse of `to_torch`."""
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
