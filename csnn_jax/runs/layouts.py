"""Names, shapes and layouts of a network's parameters. Imports no framework and reads no files.

Our kernel layout is [k, k, in, out] or [in, out], with a flattened input in H, W, C order. torch's, which
`weights.safetensors` uses, is [out, in, k, k] or [out, in], flattened in C, H, W order.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from csnn_jax.config.graph import NeuronNode, WeightedNode
from csnn_jax.config.grid import SMALLEST
from csnn_jax.config.network import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import THRESHOLDS, is_threshold

Tensors = dict[str, np.ndarray]
"""Parameters with torch's names and layouts: `conv1.weight`, `conv1.bias`, `lif1.beta`, ..."""
Arrays = dict[str, np.ndarray]
"""Parameters in our own layout: `conv1.kernel`, `conv1.bias`, `lif1.beta`, ..."""


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in a model's file, in order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for node in config.graph:
        if isinstance(node, NeuronNode):
            shapes |= node.operation.shapes
        elif isinstance(node, WeightedNode):
            *window, inputs, out = node.kernel_shape if len(node.kernel_shape) > 1 else (0, *node.kernel_shape)
            shapes[f"{node.name}.weight"] = (out, inputs, *window) if inputs else (out,)
            if node.bias:
                shapes[f"{node.name}.bias"] = (out,)
            if node.grid.chosen:
                shapes[f"{node.name}.exponents"] = (out,)
    return shapes


def out_of_range(config: ModelConfig, name: str, values: np.ndarray) -> str | None:
    """Why the network wouldn't be exact with these values of a tensor (docs/design.md, section 2); None: it would."""
    owner, _, part = name.rpartition(".")
    if part == "threshold":
        outside, expected = ~is_threshold(values), f"magnitudes {THRESHOLDS}"
    elif part in ("weight", "bias", "exponents"):
        grid = next(node.grid for node in config.graph.weighted if node.name == owner)
        if part == "exponents":
            most = grid.largest_exponent
            outside, expected = (values < SMALLEST) | (values > most), f"whole numbers from {SMALLEST} to {most}"
        else:
            below = grid.below[part == "bias"]
            outside, expected = abs(values) >= below, f"magnitudes below 2^{math.log2(below):.0f}"
    else:
        return None
    return f"has a value of {values[outside][0]:g}, expected {expected}" if outside.any() else None


def digest(tensors: Tensors) -> str:
    """SHA-256 of tensors (names, types, shapes, bytes in that order), independent of their file.

    A scalar counts as [1], as in the manifests of bundles.
    """
    sha = hashlib.sha256()
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        sha.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        sha.update(value.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def bias_of(node: WeightedNode, tensors: Tensors) -> np.ndarray:
    """The bias of a node [out]; zeros if it has none."""
    return tensors[f"{node.name}.bias"] if node.bias else np.zeros(node.channels, np.float32)


def on_grid(config: ModelConfig, tensors: Tensors) -> Tensors:
    """The network as it runs, evaluates and is exported: weights and biases rounded to the grids of their nodes.

    Chosen exponents of grids are kept; missing ones are chosen.

    Raises:
        UserError: all weights of a layer become 0.
    """
    rounded = with_exponents(config, tensors)
    for names, group in config.graph.groups.items():
        nodes = [node for node in config.graph.weighted if node.name in names]
        layers = [_for_grid(node, tensors) for node in nodes]
        for node, (values, _), (kernel, biases) in zip(
            nodes, layers, group.round(layers, exponents=_exponents(nodes, rounded)), strict=True
        ):
            if values.any() and not kernel.any():
                raise UserError(f"{node.name}: all weights become 0 with {config.weight_bits} bits, expected more bits")
            rounded[f"{node.name}.weight"] = np.ascontiguousarray(np.moveaxis(kernel, -1, 0))
            if node.bias:
                rounded[f"{node.name}.bias"] = biases
    return rounded


def _exponents(nodes: Sequence[WeightedNode], tensors: Tensors) -> list[np.ndarray | None]:
    """The exponents of nodes' grids that are stored with the weights; None for the others."""
    return [tensors[f"{node.name}.exponents"].astype(np.int32) if node.grid.chosen else None for node in nodes]


def with_exponents(config: ModelConfig, tensors: Tensors) -> Tensors:
    """A network's parameters, with chosen exponents of grids: the given ones, or else the best."""
    made = {}
    nodes = {f"{node.name}.exponents": node for node in config.graph.weighted}
    for name in expected_shapes(config):
        if name in nodes and name not in tensors:
            values, biases = _for_grid(nodes[name], tensors)
            made[name] = nodes[name].grid.choose(values, biases).astype(values.dtype)
        else:
            made[name] = tensors[name]
    return made


def _for_grid(node: WeightedNode, tensors: Tensors) -> tuple[np.ndarray, np.ndarray]:
    """Weights [..., out] and biases of a node."""
    values = np.moveaxis(tensors[f"{node.name}.weight"], 0, -1)
    return values, bias_of(node, tensors).astype(values.dtype)


def units(config: ModelConfig, node: WeightedNode, tensors: Tensors) -> tuple[np.ndarray, np.ndarray]:
    """A node's few-bit weights as integers, int8 in torch's layout, and each output channel's step, float32 [out].

    Args:
        config: a network with `weight_bits`.
        node: its node.
        tensors: parameters on their grids.
    """
    (names,) = (names for names in config.graph.groups if node.name in names)
    nodes = [one for one in config.graph.weighted if one.name in names]
    all_steps = config.graph.groups[names].steps([_for_grid(one, tensors) for one in nodes], _exponents(nodes, tensors))
    kernel, steps = _for_grid(node, tensors)[0], all_steps[names.index(node.name)]
    whole = (kernel / steps).astype(np.int8)
    assert np.array_equal(whole * steps, kernel), f"{node.name} isn't on its grid"
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
    nodes = {f"{node.name}.weight": node for node in config.graph.weighted}
    for name, value in tensors.items():
        each = 8 if name.endswith(".exponents") else 32
        if node := nodes.get(name):
            each = node.grid.finest + 1
            bits += 8 * node.channels * (not node.grid.chosen)  # the largest weight's exponent
        bits += each * value.size
    return bits / 8000


def to_torch(kernel: np.ndarray, entering: tuple[int, ...]) -> np.ndarray:
    """Converts one of our kernels to torch's layout.

    Args:
        kernel: [k, k, in, out] or [in, out].
        entering: shape of a linear layer's input before it was flattened, `Graph.unflattened`.
    """
    if kernel.ndim == 4:
        return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    out = kernel.shape[-1]
    if kernel.ndim == 1:
        return kernel
    if len(entering) == 3:  # flattened H, W, C here and C, H, W there
        return np.ascontiguousarray(kernel.reshape(*entering, out).transpose(3, 2, 0, 1)).reshape(out, -1)
    return np.ascontiguousarray(kernel.T)


def from_torch(weight: np.ndarray, entering: tuple[int, ...]) -> np.ndarray:
    """Converts a weight from torch's layout to ours: the inverse of `to_torch`."""
    if weight.ndim == 4:
        return np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
    out = weight.shape[0]
    if weight.ndim == 1:
        return weight
    if len(entering) == 3:
        height, width, channels = entering
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
    convert: Callable[[np.ndarray, tuple[int, ...]], np.ndarray],
) -> dict[str, np.ndarray]:
    converted = {}
    nodes = {f"{node.name}.{old}": node for node in config.graph.weighted}
    for name, value in values.items():
        if node := nodes.get(name):
            converted[f"{node.name}.{new}"] = convert(value, config.graph.unflattened(node))
        else:
            converted[name] = value
    return converted
