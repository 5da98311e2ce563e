"""A network from another program's file: its parameters, with BatchNorms and the normalization of images folded in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from csnn_jax.config.graph import IMAGE, Edge, Operation, WeightedNode
from csnn_jax.config.network import ModelConfig, Output
from csnn_jax.config.nodes import NodeConfig
from csnn_jax.config.operations import Convolution, Flatten, Linear, OneToOne, Pooling
from csnn_jax.config.pixels import BYTE
from csnn_jax.errors import UserError, naming_arguments
from csnn_jax.neurons.neuron import NEVER, Neurons, Reset
from csnn_jax.options import check, check_value
from csnn_jax.options.kinds import number
from csnn_jax.runs.layouts import Tensors, out_of_range
from csnn_torch.foreign.stack import Module

T = TypeVar("T")

NORM_EPS = 1e-5
"""Torch's default for a BatchNorm's eps, which isn't in a state_dict."""
TO_TENSOR = 255.0
"""The divisor of bytes in torchvision's ToTensor."""


class Weighted(NamedTuple):
    """Weight and bias of a layer with its norm folded in, their original types, and notes on that."""

    weight: np.ndarray
    bias: np.ndarray | None
    types: set[torch.dtype]
    notes: tuple[str, ...] = ()


def weighted(layer: Module, norm: Module | None, eps: float) -> Weighted:
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
                raise module.error(name, f"has type {tensor.dtype}, expected floats")
            if not tensor.isfinite().all():
                raise module.error(name, "has values that aren't finite, expected finite floats")
            if (name != "weight" or module is norm) and list(tensor.shape) != layer.shape[:1]:
                raise module.error(name, f"has shape {list(tensor.shape)}, expected {layer.shape[:1]}")
    if layer.kind == "conv" and layer.shape[2] != layer.shape[3]:
        raise layer.error("weight", f"has shape {layer.shape}, expected a square kernel")
    types = {tensor.dtype for tensor in layer.tensors.values()}
    values = {name: tensor.double().numpy() for name, tensor in layer.tensors.items()}
    weight, bias = values["weight"], values.get("bias")
    if norm is None:
        return Weighted(weight, bias, types)
    if norm.tensors["running_var"].min() < 0:
        raise norm.error("running_var", "has negative values, expected variances")
    of_norm = {name: tensor.double().numpy() for name, tensor in norm.tensors.items()}
    gain = of_norm.get("weight", 1.0) / np.sqrt(of_norm["running_var"] + eps)
    shifted = (0 if bias is None else bias) - of_norm["running_mean"]
    note = f"{norm.name} is folded into {layer.name}, with its running statistics and eps {eps:g}"
    if layer.kind == "conv" and (gain < 0).any():
        note += "; some of its weights are negative, which changes the result if there is a max-pool between the two"
    scaled = weight * gain.reshape(-1, *[1] * (weight.ndim - 1))
    return Weighted(scaled, shifted * gain + of_norm.get("bias", 0.0), types, (note,))


def _normalized(first: Weighted, node: WeightedNode, config: ModelConfig, values: Sequence[float]) -> Weighted:
    """Adapts a layer that reads images to images that aren't normalized, without changing its results.

    Args:
        first: the layer for normalized images, in torch's layout.
        node: its node.
        config: configuration of the converted network.
        values: the numbers of --normalize: the means, then the same number of standard deviations.

    Raises:
        UserError: the numbers are invalid or don't match the channels, or the image is pooled or padded first (zeros
            are the mean of normalized images, but black in others).
    """
    half = len(values) // 2
    mean, std = np.array(values[:half], np.float64), np.array(values[half:], np.float64)
    if not values or len(values) % 2 or not np.isfinite(values).all() or std.min() <= 0:
        expected = "expected a mean and a positive standard deviation, or one of each per channel"
        raise UserError(f"--normalize {_listed(values)}: {expected}")
    check("--encoding", config.encoding, "direct with --normalize", config.encoding == "direct")
    height, width, channels = config.input_shape
    padding = node.operation.padding if isinstance(node.operation, Convolution) else 0
    if padding:
        raise UserError(
            f"--normalize: {node.name} pads its input by {padding} with zeros, which are the mean of normalized images "
            "but black in others, expected a first layer without padding (--padding valid)"
        )
    if config.graph.pool_before(node):
        raise UserError(f"--normalize: {node.name} reads pooled images, expected a first layer that reads them whole")
    if half not in (1, channels):
        raise UserError(f"--normalize: {half} means, expected one, or one for each of the {channels} channels")
    out, inputs = first.weight.shape[:2]
    each = 1 if node.is_convolution else height * width  # flattened in C, H, W order
    means, stds = (
        np.repeat(np.broadcast_to(one, channels), each).reshape(1, inputs, *[1] * (first.weight.ndim - 2))
        for one in (mean, std)
    )
    weight = first.weight / stds
    shift = (weight * means).reshape(out, -1).sum(1)
    by = f"mean {_listed(mean)} and standard deviation {_listed(std)}"
    note = f"the normalization of images by {by} is folded into {node.name}"
    bias = (0 if first.bias is None else first.bias) - shift
    return first._replace(weight=weight, bias=bias, notes=(*first.notes, note))


def _listed(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _entered(first: Weighted, layer: str, config: ModelConfig, divisor: float | None) -> Weighted:
    """Adapts a layer that reads images to bytes divided by a power of two, without changing its results.

    Args:
        first: the layer for the original images, in torch's layout.
        layer: its name.
        config: configuration of the converted network.
        divisor: original divisor of the bytes. None: 255 if the converted network divides by 256, otherwise the same as
            that network, so counts stay counts.

    Raises:
        UserError: it isn't a positive number, or the network takes spikes or floats.
    """
    taken = config.entering.scale
    if divisor is None:
        divisor = TO_TENSOR if taken == BYTE else taken
    else:
        check_value("--scale", divisor, number(above=0))
        check("--encoding", config.encoding, "direct with --scale", config.encoding == "direct")
        check("--scale", divisor, "no --scale for images of floats", config.pixels.are_bytes)
    if divisor == taken:
        return first
    here = f"here it's {taken:g}, and {layer} compensates for it"
    note = f"assuming your images were divided by {divisor:g} (--scale): {here}"
    return first._replace(weight=first.weight * (taken / divisor), notes=(*first.notes, note))


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


class FoundNeurons(NamedTuple):
    """The neurons of all layers.

    Attributes:
        fields: fields of ModelConfig: neuron, reset, output, per_channel, and the neuron's parameters.
        values: values of each parameter by name, one per layer: float32, scalars or [channels].
        notes: changes and assumptions, one line each.
    """

    fields: dict[str, Any]
    values: dict[str, list[np.ndarray]]
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        neuron: str,
        output: Output,
        resets: Iterable[Reset],
        values: dict[str, list[np.ndarray]],
        notes: Iterable[str],
    ) -> "FoundNeurons":
        """The neurons with these values, as in `values`, and one reset per layer."""
        fields: dict[str, Any] = {name: _one_or_all(map(as_number, each)) for name, each in values.items()}
        fields |= {"neuron": neuron, "output": output, "reset": tuple(resets)}
        fields["per_channel"] = tuple(name for name, each in values.items() if any(one.ndim for one in each))
        return cls(fields, values, tuple(notes))

    def stored(self, config: ModelConfig) -> Tensors:
        """The values stored with the weights, by their names in files; `config` has these `fields`."""
        names = [node.name for node in config.graph.neurons]
        values = {name: {key: each[i] for key, each in self.values.items()} for i, name in enumerate(names)}
        return stored(config, values)


def stored(config: ModelConfig, values: Mapping[str, Mapping[str, np.ndarray]]) -> Tensors:
    """The values of neurons that are stored with the weights, by their names in files.

    Args:
        config: the network.
        values: of each node of neurons, scalars or [channels].
    """
    return {
        f"{node.name}.{name}": np.broadcast_to(values[node.name][name], node.operation.channels).copy()
        for node in config.graph.neurons
        for name in node.operation.stored
    }


def node_of(name: str, operation: Operation, inputs: Iterable[Edge]) -> NodeConfig:
    """The description of a node."""
    settings: dict[str, Any] = {}
    match operation:
        case Convolution():
            kind, settings = "convolution", asdict(operation)
        case Linear():
            kind, settings = "linear", asdict(operation)
        case OneToOne():
            kind, settings = "one_to_one", asdict(operation)
        case Pooling(pool, size, stride):
            kind, settings = f"{pool}_pool", {"size": size, "stride": stride}
        case Flatten():
            kind = "flatten"
        case Neurons():
            kind, settings = operation.kind.name, dict(operation.configured)
            settings |= {"reset": operation.reset, "separate": operation.separate}
            settings |= {"learn": operation.learned, "per_channel": operation.per_channel}
            if operation["threshold"] >= NEVER:
                del settings["threshold"], settings["reset"]
                settings["integrator"] = True
    return NodeConfig(name, kind, [*map(str, inputs)], **{key: one for key, one in settings.items() if one != ()})


def nodes_of(config: ModelConfig) -> list[NodeConfig]:
    """The nodes of any network, as described or those that its flags make."""
    if config.network:
        return list(config.network.nodes)
    return [node_of(node.name, node.operation, node.inputs) for node in config.graph if node.operation]


def as_number(values: np.ndarray) -> float:
    """A layer's value for the configuration: the shortest number with the same float32, or the mean of the channels."""
    return float(str(values[()])) if values.ndim == 0 else float(f"{values.mean(dtype=np.float64):.4g}")


def _one_or_all(values: Iterable[T]) -> T | tuple[T, ...]:
    """The values, or one if they're equal."""
    each = tuple(values)
    return each[0] if len(set(each)) == 1 else each


def channels(shapes: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """The fields of ModelConfig that follow from the shapes of the weights, with convolutions first."""
    convs, outputs = [shape for shape in shapes if len(shape) == 4], tuple(shape[0] for shape in shapes)
    count = len(convs)
    fields = {"conv_channels": outputs[:count], "hidden": outputs[count:-1], "num_classes": outputs[-1]}
    return fields | ({"kernel_size": tuple(shape[2] for shape in convs)} if convs else {})


@naming_arguments(scale="divided_by")
def parameters(
    config: ModelConfig,
    layers: Mapping[str, tuple[str, Weighted]],
    source: str,
    normalize: Sequence[float] | None,
    divided_by: float | None,
) -> tuple[Tensors, list[str]]:
    """The weights and biases of all layers in float32, and notes on what was folded, converted or assumed.

    Args:
        config: the network.
        layers: by node, the layer's name in the file, for messages, and its weight and bias in float64, in torch's
            layout; a missing bias that the node has is 0.
        source: the file.
        normalize: mean and standard deviation that normalized the training images, see `state_dict.convert`; or None.
        divided_by: original divisor of the bytes, see `_entered`.

    Raises:
        UserError: a value exceeds the range in which sums are exact, or images can't enter like this.
    """
    tensors: Tensors = {}
    notes: list[str] = []
    for node in config.graph.weighted:
        name, layer = layers[node.name]
        reads = config.graph.reads(node)
        if any(edge.source == IMAGE for edge in reads):
            own = layer
            layer = layer if normalize is None else _normalized(layer, node, config, normalize)
            layer = _entered(layer, node.name, config, divided_by)
            others = [str(edge) for edge in reads if edge.source != IMAGE or (edge.delay and normalize is not None)]
            if layer is not own and others:
                taken = f"expected images divided by {config.entering.scale:g} and not normalized"
                raise UserError(f"{source}: {name} adds {others[0]} to the image, {taken}; see --scale")
        both = {"weight": layer.weight, "bias": np.zeros(node.channels) if layer.bias is None else layer.bias}
        for key, values in both.items() if node.bias else [("weight", layer.weight)]:
            with np.errstate(over="ignore"):
                tensors[f"{node.name}.{key}"] = values.astype(np.float32)
            if reason := out_of_range(config, f"{node.name}.{key}", values):
                raise UserError(f"{source}: {name}.{key} {reason}")
        notes += layer.notes
    if kinds := {kind for _, layer in layers.values() for kind in layer.types if kind != torch.float32}:
        notes.append(f"weights of type {' and '.join(sorted(map(str, kinds)))} are converted to float32")
    bare = [layers[node.name][0] for node in config.graph.weighted if node.bias and layers[node.name][1].bias is None]
    if 0 < len(bare) < len(layers):
        notes.append(f"{', '.join(bare)}: no bias, using 0 because the other layers have one")
    return tensors, notes
