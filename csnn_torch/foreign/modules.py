"""Identifies the modules of a state_dict by their tensors.

A Conv2d or Linear has a `weight` with four or two axes and optionally a `bias`. A BatchNorm2d has `running_mean` and
`running_var`. An `snn.Leaky` has `beta`, `threshold` and, in snnTorch 1.0, `reset_mechanism_val` and
`graded_spikes_factor`; an `snn.Synaptic` also has `alpha`. The modules' names don't matter.
"""

from typing import NamedTuple

import torch

from csnn_jax.errors import UserError
from csnn_jax.neurons import NEURONS
from csnn_jax.neurons.neuron import Neuron

READ = tuple(kind for kind in NEURONS.values() if not kind.lacks("snntorch"))
"""The supported neuron models."""
_NEURON = set.intersection(*({*kind.parameters} for kind in READ))
_NEURON_MAY = {"reset_mechanism_val", "graded_spikes_factor"}.union(*(kind.parameters for kind in READ))
_NORM = {"running_mean", "running_var", "num_batches_tracked"}


def class_of(kind: Neuron) -> str:
    """The snnTorch class of a neuron model."""
    return f"snntorch.{kind.name.capitalize()}"


SPIKING = " or ".join(map(class_of, READ))
KINDS = {"conv": "a Conv2d", "fc": "a Linear", "lif": f"an {SPIKING}", "norm": "a BatchNorm"}
"""The names of the kinds of modules in messages."""


class Module(NamedTuple):
    """A module of the saved network.

    Attributes:
        name: its name, such as `conv1` or `net.0`.
        kind: `conv`, `fc`, `lif` or `norm`.
        tensors: its tensors, by the last part of their names.
    """

    name: str
    kind: str
    tensors: dict[str, torch.Tensor]

    def __str__(self) -> str:
        if self.kind in ("conv", "fc"):
            return f"{self.name} {list(self.tensors['weight'].shape)}"
        return self.name

    @property
    def neuron(self) -> Neuron:
        """The neuron model of a `lif`: the one with the most parameters that are all present."""
        found = [kind for kind in READ if kind.parameters.keys() <= self.tensors.keys()]
        return max(found, key=lambda kind: len(kind.parameters))

    @property
    def per_channel(self) -> tuple[int, ...]:
        """The shape of a parameter with one value per channel of this layer: [C, 1, 1], or [n] of a linear layer."""
        channels = len(self.tensors["weight"])
        return (channels, 1, 1) if self.kind == "conv" else (channels,)

    def takes(self, values: torch.Tensor) -> bool:
        """Whether a parameter of neurons fits this layer: one value, or one per channel, with or without a batch."""
        return values.numel() == 1 or values.shape in (self.per_channel, (1, *self.per_channel))


def modules(state: dict[str, torch.Tensor], source: str) -> list[Module]:
    """The modules in the order of their registration.

    Raises:
        UserError: csnn_jax doesn't support a module; the message names the tensor that identifies it.
    """
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in state.items():
        module, _, name = key.rpartition(".")
        groups.setdefault(module, {})[name] = tensor
    found = [_module(name, group, source) for name, group in groups.items()]
    neurons = {one.name for one in found if one.kind == "lif"}
    for one in found:
        if (owner := one.name.rpartition(".")[0]) in neurons:
            raise UserError(
                f"{source}: {one.name}.weight belongs to the neuron {owner}, a recurrent one such as "
                f"snntorch.RLeaky, expected {SPIKING}, which csnn_jax supports"
            )
    return found


def _module(name: str, group: dict[str, torch.Tensor], source: str) -> Module:
    if group.keys() & {"running_mean", "running_var"}:
        for part in sorted({"running_mean", "running_var"} - group.keys()):
            raise UserError(f"{source}: {name}.{part} is missing, expected the running statistics of a BatchNorm")
        kind, allowed = "norm", _NORM | {"weight", "bias"}
    elif group.keys() >= _NEURON:
        kind, allowed = "lif", _NEURON | _NEURON_MAY
    elif "weight" in group:
        axes = group["weight"].ndim
        if axes == 1:
            raise UserError(
                f"{source}: {name}.running_mean is missing, expected the running statistics of a BatchNorm; other "
                f"modules with a weight of shape {list(group['weight'].shape)}, such as GroupNorm, aren't supported"
            )
        kind, allowed = {4: "conv", 2: "fc"}.get(axes, ""), {"weight", "bias"}
        if not kind:
            shape = list(group["weight"].shape)
            raise UserError(f"{source}: {name}.weight has shape {shape}, expected that of a Conv2d or Linear")
    else:
        kind, allowed = "", set()
    known = f"Conv2d, Linear, BatchNorm2d and {SPIKING}"
    if not kind:
        parts = ", ".join(sorted(group))
        raise UserError(f"{source}: {name or 'the file'} has {parts}, expected only {known}")
    for part in sorted(group.keys() - allowed):
        raise UserError(f"{source}: {name}.{part} isn't a tensor of {KINDS[kind]}, expected only {known}")
    return Module(name, kind, group)
