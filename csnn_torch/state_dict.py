"""The network in a state_dict that a user of snnTorch saved: stack, neurons and weights, or why not.

    network = state_dict.read("net.pt", time_steps=25, padding="valid")

`saved.py` reads the file and `modules.py` finds what is in it; here the modules become a configuration and tensors.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import numpy as np
import torch

from csnn_jax.config import ModelConfig, Reset
from csnn_jax.config.checks import show
from csnn_jax.errors import UserError
from csnn_jax.runs.layouts import Tensors
from csnn_torch import modules, saved
from csnn_torch.modules import Module

NORM_EPS = 1e-5
"""Torch's default of a BatchNorm's eps, which a state_dict does not hold."""
UNSEEN = (
    "a state_dict does not show inhibition, reset_delay, state_quant or (before snnTorch 1.0) graded spikes, nor the "
    "kind of the pools and that they stand before the neurons: taken as snn.Leaky's defaults, and as the flags say"
)


class Network(NamedTuple):
    """The network that a state_dict holds.

    Attributes:
        config: its stack and neurons.
        tensors: its parameters in the names of `weights.safetensors`.
        notes: what was done or assumed, one line each.
    """

    config: ModelConfig
    tensors: Tensors
    notes: tuple[str, ...]


def read(
    path: str, input_shape: tuple[int, int, int] | None = None, places: Sequence[str] = (), **given: Any
) -> Network:
    """Reads the network from a file that torch.save wrote.

    Args:
        path: the file.
        input_shape: height, width and channels of the images; None: 28, 28 and the channels of the first weight.
        places: "NAME=PLACE" for modules whose order in the file does not tell their place; see `modules.stack`.
        given: fields of ModelConfig that a state_dict lacks: padding, stride, pool, surrogate, slope, time_steps,
            encoding.

    Raises:
        UserError: another kind of file, a network that csnn_jax can't run, or shapes that do not fit together; names
            the tensor.
    """
    file = saved.read(path)
    found = convert(file.tensors, path, input_shape, places, **given)
    return found._replace(notes=(*file.notes, *found.notes))


def convert(
    state: dict[str, torch.Tensor],
    source: str = "state_dict",
    input_shape: tuple[int, int, int] | None = None,
    places: Sequence[str] = (),
    **given: Any,
) -> Network:
    """The network of a state_dict in memory. `read` has the arguments and errors; `source` names it in messages."""
    stack = modules.stack(modules.modules(state, source), places, source)
    notes = list(stack.notes)
    weighted = [_weighted(layer, norm, source) for layer, norm in zip(stack.layers, stack.norms, strict=True)]
    notes += [note for one in weighted for note in one.notes]
    if kinds := {kind for one in weighted for kind in one.types if kind != torch.float32}:
        notes.append(f"weights of type {' and '.join(sorted(map(str, kinds)))} become float32")
    biased = [one.bias is not None for one in weighted]
    if any(biased) and not all(biased):
        without = [layer.name for layer, has in zip(stack.layers, biased, strict=True) if not has]
        notes.append(f"{', '.join(without)} without a bias get one of 0, as the others have one")
    reset, more = _reset(stack.neurons, source)
    convs = [one.weight.shape for one in weighted if one.weight.ndim == 4]
    outputs = [one.weight.shape[0] for one in weighted]
    first = weighted[0].weight
    stated = {
        "input_shape": input_shape or (28, 28, first.shape[1] if convs else max(1, first.shape[1] // 28**2)),
        "conv_channels": tuple(outputs[: len(convs)]),
        "hidden": tuple(outputs[len(convs) : -1]),
        "num_classes": outputs[-1],
        "bias": any(biased),
        "beta": _one_or_all([min(max(_scalar(neuron, "beta", source), 0.0), 1.0) for neuron in stack.neurons]),
        "threshold": _one_or_all([_threshold(neuron, source) for neuron in stack.neurons]),
        "reset": reset,
    }
    if convs:
        stated["kernel_size"] = tuple(shape[2] for shape in convs)
    config = _config(stated, given, [one.weight.shape for one in weighted], stack.layers, source)
    if convs and (others := _fitting(stated, given, [one.weight.shape for one in weighted])):
        notes.append(
            f"the weights fit with {' or '.join(others[:3])} as well; a state_dict does not show which of them it was"
        )
    tensors: Tensors = {}
    for layer, one in zip(config.layers, weighted, strict=True):
        tensors[f"{layer.name}.weight"] = one.weight
        if config.bias:
            tensors[f"{layer.name}.bias"] = np.zeros(layer.channels, np.float32) if one.bias is None else one.bias
    return Network(config, tensors, (*notes, *more, UNSEEN))


class _Weighted(NamedTuple):
    """Weight and bias of a layer, float32, with its norm folded in; the types that they had."""

    weight: np.ndarray
    bias: np.ndarray | None
    types: set[torch.dtype]
    notes: tuple[str, ...] = ()


def _weighted(layer: Module, norm: Module | None, source: str) -> _Weighted:
    for module in filter(None, (layer, norm)):
        for name, tensor in module.tensors.items():
            if name == "num_batches_tracked":
                continue
            if not tensor.dtype.is_floating_point:
                raise UserError(f"{source}: {module.name}.{name} has type {tensor.dtype}, expected floats")
            if not tensor.isfinite().all():
                raise UserError(f"{source}: {module.name}.{name} holds values that are not finite")
    shape = list(layer.tensors["weight"].shape)
    if layer.kind == "conv" and shape[2] != shape[3]:
        raise UserError(f"{source}: {layer.name}.weight has shape {shape}, expected a square kernel")
    types = {tensor.dtype for tensor in layer.tensors.values()}
    weight = layer.tensors["weight"].double().numpy()
    bias = layer.tensors["bias"].double().numpy() if "bias" in layer.tensors else None
    if bias is not None and bias.shape != weight.shape[:1]:
        raise UserError(f"{source}: {layer.name}.bias has shape {list(bias.shape)}, expected [{shape[0]}]")
    notes: tuple[str, ...] = ()
    if norm is not None:
        weight, bias, note = _folded(weight, bias, layer, norm)
        notes = (note,)
    return _Weighted(weight.astype(np.float32), None if bias is None else bias.astype(np.float32), types, notes)


def _folded(
    weight: np.ndarray, bias: np.ndarray | None, layer: Module, norm: Module
) -> tuple[np.ndarray, np.ndarray, str]:
    """Weight and bias that give what the layer and its BatchNorm give in evaluation; and a line that says so."""
    of = {name: tensor.double().numpy() for name, tensor in norm.tensors.items()}
    gain = of.get("weight", 1.0) / np.sqrt(of["running_var"] + NORM_EPS)
    shifted = (0 if bias is None else bias) - of["running_mean"]
    note = f"{norm.name} is folded into {layer.name}, with its running statistics and eps {NORM_EPS:g}"
    if layer.kind == "conv" and (gain < 0).any():
        note += "; some of its weights are negative, which changes the result where a max-pool stands between the two"
    scaled = weight * gain.reshape(-1, *[1] * (weight.ndim - 1))
    return scaled, shifted * gain + of.get("bias", 0.0), note


def _config(
    stated: dict[str, Any],
    given: dict[str, Any],
    shapes: Sequence[tuple[int, ...]],
    layers: Sequence[Module],
    source: str,
) -> ModelConfig:
    """The configuration, checked against the shapes of the weights; says which flags would fit where these don't."""
    try:
        config = ModelConfig(**stated | given)
    except UserError as error:
        raise UserError(f"{source}: {error}{_advice(stated, given, shapes)}") from None
    for number, (layer, module, shape) in enumerate(zip(config.layers, layers, shapes, strict=True)):
        *window, inputs, out = layer.kernel_shape
        expected = (out, inputs, *window)
        if tuple(shape) == expected:
            continue
        size = " ".join(map(str, config.input_shape))
        hint = "; say which layer has which place by --map NAME=conv1 ... where the order in the file is another"
        if layer.kind == "linear" and len(layer.in_shape) == 3:
            hint = f": images of --input-shape {size} leave {inputs} inputs to it{_advice(stated, given, shapes)}"
        elif number == 0:
            hint = f", for images of --input-shape {size}"
        raise UserError(f"{source}: {module.name}.weight has shape {list(shape)}, expected {list(expected)}{hint}")
    return config


def _advice(stated: dict[str, Any], given: dict[str, Any], shapes: Sequence[tuple[int, ...]]) -> str:
    """The flags with which the weights would fit, for an error."""
    if not stated["conv_channels"]:
        return ""
    found = _fitting(stated, given, shapes)
    if found:
        return f"; {' or '.join(found[:3])} would fit"
    return "; no --padding, --stride and --pool make them fit: a padding is 0 here, or half a kernel"


def _fitting(stated: dict[str, Any], given: dict[str, Any], shapes: Sequence[tuple[int, ...]]) -> list[str]:
    """Other flags with which the weights fit: the simplest ones."""
    count = len(stated["conv_channels"])
    pooled = given.get("pool", "max")
    pool = next((kind for kind in (pooled if isinstance(pooled, tuple) else (pooled,)) if kind != "none"), "max")
    width = count if count <= 3 else 1
    each = [choices for choices in (("same", "valid"), (1, 2), (pool, "none")) for _ in range(width)]
    found: list[tuple[int, str]] = []
    for values in itertools.product(*each):
        flags = {name: values[i * width : (i + 1) * width] for i, name in enumerate(("padding", "stride", "pool"))}
        plain = {name: one[0] if len(set(one)) == 1 else one for name, one in flags.items()}
        new = {name: one for name, one in plain.items() if given.get(name, getattr(ModelConfig, name)) != one}
        try:
            first = ModelConfig(**stated | given | new).layers[count]
        except UserError:
            continue
        if new and first.kernel_shape[0] == shapes[count][1]:
            words = [f"--{name} {show(one)}" for name, one in new.items()]
            found.append((10 * len(new) + sum(isinstance(one, tuple) for one in new.values()), " ".join(words)))
    return sorted(words for score, words in found if score == min(found)[0])


def _reset(neurons: Sequence[Module], source: str) -> tuple[Reset, tuple[str, ...]]:
    """The reset of all neurons, and what was assumed of it."""
    names = get_args(Reset)
    told = [neuron for neuron in neurons if "reset_mechanism_val" in neuron.tensors]
    values = [int(_scalar(neuron, "reset_mechanism_val", source)) for neuron in told]
    for neuron, value in zip(told, values, strict=True):
        if value not in range(3):
            known = "0 (subtract), 1 (zero) or 2 (none)"
            raise UserError(f"{source}: {neuron.name}.reset_mechanism_val is {value}, expected {known}")
        if value == values[0]:
            continue
        what = "csnn_jax has one reset for all layers"
        if neuron is neurons[-1] and names[value] == "none" and len(set(values[:-1])) == 1:
            what += (
                f" and reads out spikes, not the membrane of a last layer without reset: give that layer "
                f"reset_mechanism='{names[values[0]]}', train it on its spikes, and convert it then"
            )
        raise UserError(
            f"{source}: {neuron.name}.reset_mechanism_val is {value} ({names[value]}) and {told[0].name}'s "
            f"{values[0]} ({names[values[0]]}), expected equal ones: {what}"
        )
    if len(told) == len(neurons):
        return names[values[0]], ()
    return (names[values[0]] if values else "subtract"), ("no reset_mechanism_val is in the file: taken as subtract",)


def _scalar(module: Module, name: str, source: str) -> float:
    tensor = module.tensors[name]
    if tensor.numel() != 1:
        shape = list(tensor.shape)
        raise UserError(f"{source}: {module.name}.{name} has shape {shape}, expected one value for the layer")
    value = float(str(tensor.float().numpy().reshape(())[()]))  # 0.9, and not 0.8999999761581421: the same float32
    if not math.isfinite(value):
        raise UserError(f"{source}: {module.name}.{name} is {value}, expected a number")
    return value


def _threshold(neuron: Module, source: str) -> float:
    if "graded_spikes_factor" in neuron.tensors:
        factor = _scalar(neuron, "graded_spikes_factor", source)
        if factor != 1:
            raise UserError(
                f"{source}: {neuron.name}.graded_spikes_factor is {factor:g}, expected 1 (spikes of 0 and 1)"
            )
    value = _scalar(neuron, "threshold", source)
    if value <= 0:
        raise UserError(f"{source}: {neuron.name}.threshold is {value:g}, expected a positive number")
    return value


def _one_or_all(values: list[float]) -> float | tuple[float, ...]:
    return values[0] if len(set(values)) == 1 else tuple(values)
