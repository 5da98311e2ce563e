"""Weights and biases of layers, with what is linear about them folded in: a BatchNorm, and a normalized input."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from csnn_jax.config import Layer, ModelConfig
from csnn_jax.config.checks import check, is_number
from csnn_jax.config.network import PIXEL
from csnn_jax.errors import UserError
from csnn_torch.foreign.modules import Module

NORM_EPS = 1e-5
"""Torch's default of a BatchNorm's eps, which a state_dict does not hold."""
TO_TENSOR = 255.0
"""What torchvision's ToTensor divides bytes by."""


class Normalization(NamedTuple):
    """What was done to images, as pixels from 0 to 1: (image - mean) / std, each one number or one per channel."""

    mean: np.ndarray
    std: np.ndarray

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:g}" for value in values) for values in self)
        return f"mean {mean} and standard deviation {std}"


class Weighted(NamedTuple):
    """Weight and bias of a layer, with its norm folded in; the types that they had, and lines that say so."""

    weight: np.ndarray
    bias: np.ndarray | None
    types: set[torch.dtype]
    notes: tuple[str, ...] = ()


def normalization(values: Sequence[float]) -> Normalization:
    """From the numbers of --normalize: the means, then as many standard deviations.

    Raises:
        UserError: other numbers than that.
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
    """A layer's weight and bias in float64, with the norm after it folded in.

    Raises:
        UserError: they are not finite floats of a square kernel, or don't fit together; names the tensor.
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
    """Weight and bias that give what the layer and its BatchNorm give in evaluation; and a line that says so."""
    of = {name: tensor.double().numpy() for name, tensor in norm.tensors.items()}
    gain = of.get("weight", 1.0) / np.sqrt(of["running_var"] + eps)
    shifted = (0 if bias is None else bias) - of["running_mean"]
    note = f"{norm.name} is folded into {layer.name}, with its running statistics and eps {eps:g}"
    if layer.kind == "conv" and (gain < 0).any():
        note += "; some of its weights are negative, which changes the result if there is a max-pool between the two"
    scaled = weight * gain.reshape(-1, *[1] * (weight.ndim - 1))
    return scaled, shifted * gain + of.get("bias", 0.0), note


def normalized(first: Weighted, layer: Layer, channels: int, by: Normalization) -> Weighted:
    """The first layer for images that are not normalized, with the result that it has on normalized ones.

    Args:
        first: for normalized images, in torch's layout.
        layer: its geometry.
        channels: of the images.
        by: how they were normalized.

    Raises:
        UserError: a padded convolution, whose zeros are a mean pixel on one side and a black one on the other; or
            means of another number of channels.
    """
    if layer.padding:
        raise UserError(
            f"--normalize: {layer.name} pads its input by {layer.padding} with zeros, which are the mean of normalized "
            "images but black in others, expected a first layer without padding (--padding valid)"
        )
    if len(by.mean) not in (1, channels):
        raise UserError(f"--normalize: {len(by.mean)} means, expected one, or one for each of the {channels} channels")
    out, inputs = first.weight.shape[:2]
    of_channels = Normalization(*(np.broadcast_to(values, channels) for values in by))
    each = math.prod(layer.in_shape) // channels if layer.kind == "linear" else 1  # flattened in C, H, W order
    mean, std = (np.repeat(values, each).reshape(1, inputs, *[1] * (first.weight.ndim - 2)) for values in of_channels)
    weight = first.weight / std
    shift = (weight * mean).reshape(out, -1).sum(1)
    note = f"the normalization of images by {by} is folded into {layer.name}"
    bias = (0 if first.bias is None else first.bias) - shift
    return first._replace(weight=weight, bias=bias, notes=(*first.notes, note))


def entered(first: Weighted, config: ModelConfig, given: float | None) -> Weighted:
    """The first layer for bytes that are divided by a power of two, with the result that it has on its own images.

    Args:
        first: for images as they were, in torch's layout.
        config: of the network that is made.
        given: what the bytes were divided by. None: 255 where the network divides them by 256, else as the network
            does: counts are counts.

    Raises:
        UserError: no positive number, or one for a network that takes spikes or floats.
    """
    taken = config.input_scale
    if given is None:
        given = TO_TENSOR if taken == PIXEL else taken
    else:
        check("--scale", f"{given:g}", "a positive number", is_number(given, 0.0))
        check("--encoding", config.encoding, "direct with --scale", config.encoding == "direct")
        check("--scale", f"{given:g}", "no --scale for images of floats", config.takes_bytes)
    if given == taken:
        return first
    layer = config.layers[0].name
    note = f"your images were divided by {given:g}, but here bytes are divided by {taken:g}: {layer} compensates for it"
    return first._replace(weight=first.weight * (taken / given), notes=(*first.notes, note))
