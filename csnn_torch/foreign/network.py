"""A network from another program's file: its parameters, with BatchNorms and the normalization of images folded in."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from csnn_jax.config import ModelConfig
from csnn_jax.config.graph import Convolution
from csnn_jax.config.pixels import BYTE
from csnn_jax.errors import UserError, naming_arguments
from csnn_jax.options import check, check_value
from csnn_jax.options.kinds import number
from csnn_jax.runs.layouts import Tensors, out_of_range
from csnn_torch.foreign.stack import Module

NORM_EPS = 1e-5
"""Torch's default for a BatchNorm's eps, which isn't in a state_dict."""
TO_TENSOR = 255.0
"""The divisor of bytes in torchvision's ToTensor."""


class Normalization(NamedTuple):
    """The normalization of images with pixels from 0 to 1: (image - mean) / std, with one value or one per channel."""

    mean: np.ndarray
    std: np.ndarray

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:g}" for value in values) for values in self)
        return f"mean {mean} and standard deviation {std}"


class Weighted(NamedTuple):
    """Weight and bias of a layer with its norm folded in, their original types, and notes on that."""

    weight: np.ndarray
    bias: np.ndarray | None
    types: set[torch.dtype]
    notes: tuple[str, ...] = ()


def normalization(values: Sequence[float]) -> Normalization:
    """Converts the numbers of --normalize: the means, then the same number of standard deviations.

    Raises:
        UserError: the numbers are invalid.
    """
    half = len(values) // 2
    found = Normalization(np.array(values[:half], np.float64), np.array(values[half:], np.float64))
    if not values or len(values) % 2 or not np.isfinite(values).all() or found.std.min() <= 0:
        shown = " ".join(f"{value:g}" for value in values)
        raise UserError(
            f"--normalize {shown}: expected a mean and a positive standard deviation, or one of each per channel"
        )
    return found


def weighted(layer: Module, norm: Module | None, source: str, eps: float) -> Weighted:
    """A layer's weight and bias in float64, with its norm folded in.

    Raises:
        UserError: they aren't finite floats, the kernel isn't square, or shapes don't match; the message names the
            tensor.
    """
    for module in filter(None, (layer, norm)):
        for name, tensor in module.tensors.items():
            if name == "num_batches_tracked":
                continue
            if not tensor.dtype.is_floating_point:
                raise UserError(f"{source}: {module.name}.{name} has type {tensor.dtype}, expected floats")
            if not tensor.isfinite().all():
                raise UserError(f"{source}: {module.name}.{name} has values that aren't finite")
    shape = list(layer.tensors["weight"].shape)
    if layer.kind == "conv" and shape[2] != shape[3]:
        raise UserError(f"{source}: {layer.name}.weight has shape {shape}, expected a square kernel")
    types = {tensor.dtype for tensor in layer.tensors.values()}
    weight = layer.tensors["weight"].double().numpy()
    bias = layer.tensors["bias"].double().numpy() if "bias" in layer.tensors else None
    if bias is not None and bias.shape != weight.shape[:1]:
        raise UserError(f"{source}: {layer.name}.bias has shape {list(bias.shape)}, expected [{shape[0]}]")
    if norm is None:
        return Weighted(weight, bias, types)
    for name, tensor in norm.tensors.items():
        if name != "num_batches_tracked" and list(tensor.shape) != shape[:1]:
            raise UserError(f"{source}: {norm.name}.{name} has shape {list(tensor.shape)}, expected [{shape[0]}]")
    if norm.tensors["running_var"].min() < 0:
        raise UserError(f"{source}: {norm.name}.running_var has negative values, expected variances")
    weight, bias, note = _folded(weight, bias, layer, norm, eps)
    return Weighted(weight, bias, types, (note,))


def _folded(
    weight: np.ndarray, bias: np.ndarray | None, layer: Module, norm: Module, eps: float
) -> tuple[np.ndarray, np.ndarray, str]:
    """Weight and bias with the same effect as the layer and its BatchNorm in evaluation, and a note on that."""
    of = {name: tensor.double().numpy() for name, tensor in norm.tensors.items()}
    gain = of.get("weight", 1.0) / np.sqrt(of["running_var"] + eps)
    shifted = (0 if bias is None else bias) - of["running_mean"]
    note = f"{norm.name} is folded into {layer.name}, with its running statistics and eps {eps:g}"
    if layer.kind == "conv" and (gain < 0).any():
        note += "; some of its weights are negative, which changes the result if there is a max-pool between the two"
    scaled = weight * gain.reshape(-1, *[1] * (weight.ndim - 1))
    return scaled, shifted * gain + of.get("bias", 0.0), note


def normalized(first: Weighted, config: ModelConfig, by: Normalization) -> Weighted:
    """Adapts the first layer to images that aren't normalized, without changing its results.

    Args:
        first: the layer for normalized images, in torch's layout.
        config: configuration of the converted network.
        by: their normalization.

    Raises:
        UserError: the convolution is padded (zeros are the mean of normalized images, but black in others), or the
            number of means doesn't match the channels.
    """
    node, (height, width, channels) = config.graph.weighted[0], config.input_shape
    padding = node.operation.padding if isinstance(node.operation, Convolution) else 0
    if padding:
        raise UserError(
            f"--normalize: {node.name} pads its input by {padding} with zeros, which are the mean of normalized images "
            " but black in others, expected a first layer without padding (--padding valid)"
        )
    if len(by.mean) not in (1, channels):
        raise UserError(f"--normalize: {len(by.mean)} means, expected one, or one for each of the {channels} channels")
    out, inputs = first.weight.shape[:2]
    of_channels = Normalization(*(np.broadcast_to(values, channels) for values in by))
    each = 1 if node.is_convolution else height * width  # flattened in C, H, W order
    mean, std = (np.repeat(values, each).reshape(1, inputs, *[1] * (first.weight.ndim - 2)) for values in of_channels)
    weight = first.weight / std
    shift = (weight * mean).reshape(out, -1).sum(1)
    note = f"the normalization of images by {by} is folded into {node.name}"
    bias = (0 if first.bias is None else first.bias) - shift
    return first._replace(weight=weight, bias=bias, notes=(*first.notes, note))


@naming_arguments(scale="divided_by")
def entered(first: Weighted, config: ModelConfig, given: float | None) -> Weighted:
    """Adapts the first layer to bytes divided by a power of two, without changing its results.

    Args:
        first: the layer for the original images, in torch's layout.
        config: configuration of the converted network.
        given: original divisor of the bytes. None: 255 if the converted network divides by 256, otherwise the same as
            that network, so counts stay counts.

    Raises:
        UserError: it isn't a positive number, or the network takes spikes or floats.
    """
    taken = config.entering.scale
    if given is None:
        given = TO_TENSOR if taken == BYTE else taken
    else:
        check_value("--scale", given, number(above=0))
        check("--encoding", config.encoding, "direct with --scale", config.encoding == "direct")
        check("--scale", given, "no --scale for images of floats", config.pixels.are_bytes)
    if given == taken:
        return first
    layer = config.graph.weighted[0].name
    note = (
        f"assuming your images were divided by {given:g} (--scale): here it's {taken:g}, and {layer} compensates for it"
    )
    return first._replace(weight=first.weight * (taken / given), notes=(*first.notes, note))


class ForeignNetwork(NamedTuple):
    """The network in a file.

    Attributes:
        config: its stack and neurons.
        tensors: its parameters, named as in `weights.safetensors`.
        notes: changes and assumptions, one line each.
    """

    config: ModelConfig
    tensors: Tensors
    notes: tuple[str, ...]


def weights_of(config: ModelConfig, names: Sequence[str], weighted: Sequence[Weighted], source: str) -> Tensors:
    """The weights and biases of all layers in float32, with zeros for a bias that only other layers have.

    Args:
        config: the stack.
        names: names of the layers in the file, for messages.
        weighted: their weights and biases in float64, in torch's layout.
        source: the file.

    Raises:
        UserError: a value exceeds the range in which sums are exact.
    """
    tensors: Tensors = {}
    for node, own, one in zip(config.graph.weighted, names, weighted, strict=True):
        both = {"weight": one.weight, "bias": np.zeros(node.channels) if one.bias is None else one.bias}
        for name, values in both.items() if config.bias else [("weight", one.weight)]:
            with np.errstate(over="ignore"):
                tensors[f"{node.name}.{name}"] = values.astype(np.float32)
            if reason := out_of_range(config, f"{node.name}.{name}", values):
                raise UserError(f"{source}: {own}.{name} {reason}")
    return tensors
