"""Tells the modules of a state_dict apart by their tensors.

A Conv2d or Linear has a `weight` of four or two axes and perhaps a `bias`; a BatchNorm2d has `running_mean` and
`running_var`; a `snn.Leaky` has `beta`, `threshold` and, in snnTorch 1.0, `reset_mechanism_val` and
`graded_spikes_factor`; a `snn.Synaptic` has `alpha` besides. How they are called does not matter.
"""

from typing import NamedTuple

import torch

from csnn_jax.errors import UserError
from csnn_jax.neurons import NEURONS
from csnn_jax.neurons.neuron import Neuron

READ = tuple(kind for kind in NEURONS.values() if not kind.lacks("snntorch"))
"""The neurons that are read."""
_NEURON = set.intersection(*({*kind.parameters} for kind in READ))
_NEURON_MAY = {"reset_mechanism_val", "graded_spikes_factor"}.union(*(kind.parameters for kind in READ))
_NORM = {"running_mean", "running_var", "num_batches_tracked"}


def class_of(kind: Neuron) -> str:
    """The class of snnTorch that a neuron is."""
    return f"snntorch.{kind.name.capitalize()}"


SPIKING = " or ".join(map(class_of, READ))
KINDS = {"conv": "a Conv2d", "fc": "a Linear", "lif": f"a {SPIKING}", "norm": "a BatchNorm"}
"""What the kinds of modules are called in messages."""


class Module(NamedTuple):
    """A module of the saved network.

    Attributes:
        name: its own, such as `conv1`, `net.0`.
        kind: `conv`, `fc`, `lif` or `norm`.
        tensors: by the last part of their names.
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
        """What a `lif` is: the neuron with the most parameters of those that it has."""
        found = [kind for kind in READ if kind.parameters.keys() <= self.tensors.keys()]
        return max(found, key=lambda kind: len(kind.parameters))


def modules(state: dict[str, torch.Tensor], source: str) -> list[Module]:
    """The modules in the order in which they were registered.

    Raises:
        UserError: a module that csnn_jax has none of; names the tensor that gives it away.
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
                f"snntorch.RLeaky, expected {SPIKING}, which csnn_jax has"
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
                f"modules with a weight of shape {list(group['weight'].shape)}, such as GroupNorm, are not supported"
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
        raise UserError(f"{source}: {name or 'the file'} has {parts}, expected a network of {known} alone")
    for part in sorted(group.keys() - allowed):
        raise UserError(f"{source}: {name}.{part} is no tensor of {KINDS[kind]}, expected a network of {known} alone")
    return Module(name, kind, group)
