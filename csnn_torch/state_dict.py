"""Reads the network out of a state_dict that a user of snnTorch saved. Stack, neurons and weights, or why not.

A state_dict holds names and tensors only. `0.weight`, `0.bias` are of a Conv2d or Linear, by their number of axes;
`2.beta`, `2.threshold`, `2.reset_mechanism_val`, `2.graded_spikes_factor` of a `snn.Leaky` (snnTorch 1.0).
"""

import math
import pickle
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch

from csnn_jax.config import ModelConfig, Reset
from csnn_jax.errors import UserError, first_line
from csnn_jax.runs.layouts import Tensors, expected_shapes

Group = dict[str, torch.Tensor]
_WEIGHTED = {"weight", "bias"}
_ORDER = "layers are declared in the order in which they run: Conv2d, Leaky, Conv2d, Leaky, ..., each its own Leaky"
_LEAKY = {"beta", "threshold", "reset_mechanism_val", "graded_spikes_factor"}


def load(path: str) -> dict[str, torch.Tensor]:
    """Reads the file that `torch.save(network.state_dict(), path)` made, running no code from it.

    Raises:
        UserError: no such file, truncated, or it holds something else than named tensors.
    """
    expected = "expected a state_dict that torch.save wrote"
    if path.endswith(".safetensors"):
        raise UserError(f"{path}: holds the weights of a run, which needs no conversion, {expected}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of what is refused below
            found = torch.load(Path(path), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, {expected}") from None
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        reason = f" (it names {named[1]})" if named else ""
        raise UserError(f"{path}: holds more than tensors, or is damaged{reason}, {expected}") from None
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: can't be read, {expected}: {_first_sentence(error)}") from None
    except (EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError):  # of the unpickler, on other files
        raise UserError(f"{path}: empty, truncated or another kind of file, {expected}") from None
    if not isinstance(found, dict) or not found:
        raise UserError(f"{path}: holds a {type(found).__name__}, {expected}")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            hint = "; save network.state_dict() alone" if isinstance(tensor, dict) else ""
            raise UserError(f"{path}: {name} is a {type(tensor).__name__}, {expected}, of tensors only{hint}")
    return dict(found)


def convert(
    state: dict[str, torch.Tensor], flags: ModelConfig, input_shape: tuple[int, int, int] | None, source: str
) -> tuple[ModelConfig, Tensors]:
    """The configuration and weights of the network.

    Args:
        state: the state_dict.
        flags: gives what a state_dict lacks: pool, surrogate, slope, time steps, encoding.
        input_shape: height, width and channels of the images; None: 28, 28 and the channels of the first weight.
        source: the file, for messages.

    Returns:
        (configuration, tensors in the names of `weights.safetensors`).

    Raises:
        UserError: a network that csnn_jax can't run, or shapes that do not fit together; names the tensor.
    """
    groups = _groups(state, source)
    weighted, leaky = groups[::2], groups[1::2]
    convs = [group for _, group in weighted if group["weight"].ndim == 4]
    if [group["weight"].ndim for _, group in weighted] != sorted((g["weight"].ndim for _, g in weighted), reverse=True):
        raise UserError(f"{source}: a convolution comes after a linear layer, expected all convolutions first")
    first = weighted[0][1]["weight"]
    kernel = convs[0]["weight"].shape[2] if convs else ModelConfig.kernel_size
    resets = [int(_scalar(group, name, "reset_mechanism_val", source)) for name, group in leaky]
    for (name, _), reset in zip(leaky, resets, strict=True):
        if reset not in range(3) or reset != resets[0]:
            raise UserError(
                f"{source}: {name}.reset_mechanism_val is {reset}, expected 0 (subtract), 1 (zero) or 2 (none), and "
                f"the same for every layer (the first has {resets[0]})"
            )
    outputs = [group["weight"].shape[0] for _, group in weighted]
    config = replace(
        flags,
        input_shape=input_shape or (28, 28, first.shape[1] if convs else max(1, first.shape[1] // 28**2)),
        conv_channels=tuple(outputs[: len(convs)]),
        kernel_size=kernel,
        hidden=tuple(outputs[len(convs) : -1]),
        num_classes=outputs[-1],
        beta=_one_or_all([min(max(_scalar(g, name, "beta", source), 0.0), 1.0) for name, g in leaky]),
        threshold=_one_or_all([_threshold(g, name, source) for name, g in leaky]),
        reset=get_args(Reset)[resets[0]],
    )
    return config, _tensors(config, weighted, source)


def _groups(state: dict[str, torch.Tensor], source: str) -> list[tuple[str, Group]]:
    """The layers by name, in order: a convolution or linear layer, then its Leaky, and so on."""
    groups: dict[str, Group] = {}
    for key, tensor in state.items():
        layer, _, name = key.rpartition(".")
        groups.setdefault(layer, {})[name] = tensor
    for number, (layer, group) in enumerate(groups.items()):
        kind = "a Conv2d or Linear with a bias" if number % 2 == 0 else "a snntorch.Leaky"
        needed = _WEIGHTED if number % 2 == 0 else _LEAKY
        optional = set() if number % 2 == 0 else {"graded_spikes_factor"}  # older versions of snnTorch have none
        for name in sorted(group.keys() - needed):
            found = f"{layer}.{name}".lstrip(".")
            raise UserError(f"{source}: {found} is not a tensor of {kind}, expected one there; {_ORDER}")
        for name in sorted(needed - optional - group.keys()):
            raise UserError(f"{source}: {layer}.{name} is missing, expected {kind} there; {_ORDER}")
        if needed == _WEIGHTED:
            _check_weight(layer, group, source)
        elif (factor := _scalar(group, layer, "graded_spikes_factor", source, 1.0)) != 1:
            raise UserError(f"{source}: {layer}.graded_spikes_factor is {factor:g}, expected 1 (spikes of 0 and 1)")
    if len(groups) % 2:
        raise UserError(f"{source}: no snntorch.Leaky after {layer}, expected one after every Conv2d and Linear")
    return list(groups.items())


def _check_weight(layer: str, group: Group, source: str) -> None:
    for name, tensor in group.items():
        if tensor.dtype != torch.float32:
            raise UserError(f"{source}: {layer}.{name} has type {tensor.dtype}, expected torch.float32")
        if not tensor.isfinite().all():
            raise UserError(f"{source}: {layer}.{name} holds values that are not finite")
    if (shape := list(group["weight"].shape)) and len(shape) not in (2, 4):
        raise UserError(f"{source}: {layer}.weight has shape {shape}, expected that of a Conv2d or Linear")


def _tensors(config: ModelConfig, weighted: list[tuple[str, Group]], source: str) -> Tensors:
    """The weights under our names, checked against the shapes that the configuration expects."""
    found: Tensors = {}
    expected = expected_shapes(config)
    for layer, (name, group) in zip(config.layers, weighted, strict=True):
        for part in ("weight", "bias"):
            shape = expected[f"{layer.name}.{part}"]
            if tuple(group[part].shape) != shape:
                hint = ""
                if layer.kind == "linear" and len(layer.in_shape) == 3:
                    features = math.prod(layer.in_shape)
                    hint = (
                        f": images of --input-shape {' '.join(map(str, config.input_shape))} leave {features} inputs "
                        "where every convolution is padded to keep the size and followed by a 2x2 pool"
                    )
                raise UserError(
                    f"{source}: {name}.{part} has shape {list(group[part].shape)}, expected {list(shape)}{hint}"
                )
            found[f"{layer.name}.{part}"] = group[part].numpy()
    return found


def _scalar(group: Group, layer: str, name: str, source: str, default: float | None = None) -> float:
    if default is not None and name not in group:
        return default
    tensor = group[name]
    if tensor.numel() != 1:
        raise UserError(f"{source}: {layer}.{name} has shape {list(tensor.shape)}, expected one value for the layer")
    value = float(str(tensor.float().numpy().reshape(())[()]))  # 0.9, and not 0.8999999761581421: the same float32
    if not math.isfinite(value):
        raise UserError(f"{source}: {layer}.{name} is {value}, expected a number")
    return value


def _threshold(group: Group, layer: str, source: str) -> float:
    value = _scalar(group, layer, "threshold", source)
    if value <= 0:
        raise UserError(f"{source}: {layer}.threshold is {value:g}, expected a positive number")
    return value


def _one_or_all(values: list[float]) -> float | tuple[float, ...]:
    return values[0] if len(set(values)) == 1 else tuple(values)


def _first_sentence(error: BaseException) -> str:
    return first_line(error).partition(". ")[0]
