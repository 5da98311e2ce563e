"""The neurons of a stack: fields of ModelConfig, and the values per channel that are stored with the weights."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from csnn_jax.config.network import Output
from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import THRESHOLDS, Neuron, Reset, is_threshold
from csnn_torch.foreign.network import FoundNeurons
from csnn_torch.foreign.stack import READ, Module, Stack, class_of

T = TypeVar("T")

_RESETS: tuple[Reset, ...] = ("subtract", "zero", "none")
"""The resets in the order of snnTorch's `reset_mechanism_val`."""
_ALIKE = "neurons with alpha are read as snntorch.Synaptic; snntorch.Alpha looks the same in a state_dict"


def read(stack: Stack, source: str, output: Output | None = None) -> FoundNeurons:
    """Reads the neurons of a stack. A last layer without a neuron becomes an integrator with a decay of 0.

    Args:
        stack: the modules in order.
        source: the file, for messages.
        output: kind of the last layer. None: an integrator if it has no neuron, or is the only one without a reset.

    Raises:
        UserError: there are several kinds of neurons, invalid values, or an output that the last layer doesn't support;
            the message names the module.
    """
    depth, pairs = len(stack.layers), list(zip(stack.neurons, stack.layers, strict=False))
    kind = _kind(stack.neurons, source)
    resets, assumed = _resets(stack.neurons)
    output, chosen = _output(stack, resets, output, source)
    spiking = depth - (output == "integrator")
    values: dict[str, list[np.ndarray]] = {}
    for name, parameter in kind.parameters.items():
        if parameter.decays:
            each = [_values(*pair, name).clip(0, 1) for pair in pairs]
            values[name] = each + [np.zeros((), np.float32)] * (depth - len(each))
        else:
            values[name] = _filled([_positive(*pair, name) for pair in pairs[:spiking]], depth, np.ones((), np.float32))
    notes = [_ALIKE] if "alpha" in values else []
    clipped = [
        f"{neuron.name}.{name}"
        for neuron in {one.name: one for one in stack.neurons}.values()
        for name in kind.parameters
        if kind.parameters[name].decays and ((neuron.tensors[name] < 0) | (neuron.tensors[name] > 1)).any()
    ]
    if clipped:
        notes.append(f"{', '.join(clipped)}: clipped to between 0 and 1, as in snnTorch")
    each_reset = _filled(resets[:spiking], depth, "none")
    return FoundNeurons.of(kind.name, output, each_reset, values, (*notes, *chosen, *assumed))


def _kind(neurons: Sequence[Module], source: str) -> Neuron:
    """The kind of all neurons, identified by their parameters."""
    named = {kind: dict.fromkeys(one.name for one in neurons if one.neuron is kind) for kind in READ}
    if len(used := {kind: names for kind, names in named.items() if names}) > 1:
        alike = {kind: " or Alpha" if "alpha" in kind.parameters else "" for kind in used}
        each = " and ".join(f"{class_of(kind)}{alike[kind]} ({', '.join(names)})" for kind, names in used.items())
        raise UserError(f"{source}: has {each}, expected one kind of neuron")
    return neurons[0].neuron


def _resets(neurons: Sequence[Module]) -> tuple[list[Reset], list[str]]:
    """Each neuron's reset, and what was assumed."""
    resets: list[Reset] = []
    for neuron in neurons:
        value = int(_scalar(neuron, "reset_mechanism_val")) if _tells_reset(neuron) else 0
        if value not in range(len(_RESETS)):
            known = "0 (subtract), 1 (zero) or 2 (none)"
            raise neuron.error("reset_mechanism_val", f"is {value}, expected {known}")
        reset = _RESETS[value]
        after_sum = neuron.is_recurrent and reset == "zero" and "mute" in neuron.neuron.resets
        resets.append("mute" if after_sum else reset)  # RLeaky's zero, unlike Leaky's
    assumed = "the file has no reset_mechanism_val: assuming subtract"
    return resets, [] if all(map(_tells_reset, neurons)) else [assumed]


def _tells_reset(neuron: Module) -> bool:
    """Whether its reset is in the file, which it isn't before snnTorch 1.0."""
    return "reset_mechanism_val" in neuron.tensors


def _output(stack: Stack, resets: Sequence[Reset], asked: Output | None, source: str) -> tuple[Output, list[str]]:
    """The kind of the last layer, with a note if it wasn't given."""
    layer = stack.layers[-1].name
    if len(stack.neurons) < len(stack.layers):
        if asked == "spiking":
            raise UserError(f"--output spiking: {source} has no neuron after {layer}, expected integrator")
        also = f"if one follows it, use --map NAME=lif{len(stack.layers)}"
        return "integrator", [f"{layer} has no neuron: the class is read from its current, step by step; {also}"]
    last, reset = stack.neurons[-1], resets[-1]
    if last.is_recurrent and reset == "none":
        if asked == "integrator":
            raise UserError(f"--output integrator: {last.name} of {source} reads its own spikes, expected spiking")
        return "spiking", []
    if asked == "integrator" and reset != "none" and _tells_reset(last):
        raise UserError(
            f"--output integrator: {last.name} of {source} has reset {reset}, expected none; "
            "--readout membrane reads the membranes of neurons that reset"
        )
    if asked is not None or reset != "none":
        return asked or "spiking", []
    if set(resets) == {"none"}:
        also = "--output integrator reads its membranes"
        return "spiking", [f"no neuron resets, and the class is read from the spikes of {last.name}; {also}"]
    also = "--output spiking reads its spikes"
    return "integrator", [f"{last.name} never resets: the class is read from its membranes, without spikes; {also}"]


def _values(neuron: Module, layer: Module, name: str) -> np.ndarray:
    """A neuron's parameter, float32: a scalar, or [channels]."""
    values = neuron.tensors[name].float().numpy()
    if not layer.takes(neuron.tensors[name]):
        each = "channel" if layer.kind == "conv" else "neuron"
        expected = f"expected one value for the layer, or one per {each}, {list(layer.per_channel)}"
        raise neuron.error(name, f"has shape {list(values.shape)}, {expected}")
    if len(unknown := values[~np.isfinite(values)]):
        raise neuron.error(name, f"is {unknown[0]}, expected a number")
    return values.reshape(-1 if values.size > 1 else ())


def _positive(neuron: Module, layer: Module, name: str) -> np.ndarray:
    """`_values` of the threshold of neurons that spike."""
    if "graded_spikes_factor" in neuron.tensors:
        factor = _scalar(neuron, "graded_spikes_factor")
        if factor != 1:
            raise neuron.error("graded_spikes_factor", f"is {factor:g}, expected 1 (spikes of 0 and 1)")
    values = _values(neuron, layer, name)
    for value in values[~is_threshold(values) | (values < 0)]:
        raise neuron.error(name, f"is {value:g}, expected a number {THRESHOLDS}")
    return values


def _scalar(neuron: Module, name: str) -> float:
    tensor = neuron.tensors[name]
    if tensor.numel() != 1 or not tensor.isfinite().all():
        shown = f"has shape {list(tensor.shape)}" if tensor.numel() != 1 else f"is {tensor.item()}"
        raise neuron.error(name, f"{shown}, expected a number")
    return float(tensor)


def _filled(values: Sequence[T], depth: int, otherwise: T) -> list[T]:
    """The values of the first layers, with the last one repeated for the others."""
    return [*values, *[values[-1] if values else otherwise] * (depth - len(values))]
