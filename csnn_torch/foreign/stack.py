"""Identifies the modules of a state_dict by their tensors, and finds the place of each in the stack.

A Conv2d or Linear has a `weight` with four or two axes and optionally a `bias`. A BatchNorm2d has `running_mean` and
`running_var`. An `snn.Leaky` has `beta`, `threshold` and, in snnTorch 1.0, `reset_mechanism_val` and
`graded_spikes_factor`; an `snn.Synaptic` also has `alpha`. `snn.RLeaky` and `snn.RSynaptic` also have `V`, or the
module `recurrent`. The modules' names don't matter. Their places come from their order or from --map; layers and
neurons may be registered in separate groups.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch

from csnn_jax.errors import UserError
from csnn_jax.neurons import NEURONS
from csnn_jax.neurons.neuron import Neuron

READ = tuple(kind for kind in NEURONS.values() if not kind.lacks("snntorch"))
"""The supported neuron models."""
_NEURON = set.intersection(*({*kind.parameters} for kind in READ))
_RECURRENT = "recurrent"
"""The module of recurrent neurons with their weights."""
_FED_BACK = {"V", *(f"{_RECURRENT}.{name}" for name in ("V", "weight", "bias"))}
_NEURON_MAY = {"reset_mechanism_val", "graded_spikes_factor", *_FED_BACK}.union(*(kind.parameters for kind in READ))
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
        source: the file, for messages.
        name: its name, such as `conv1` or `net.0`.
        tensors: its tensors, by the last part of their names.
        kind: `conv`, `fc`, `lif` or `norm`.
    """

    source: str
    name: str
    tensors: dict[str, torch.Tensor]
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.shape}" if self.kind in ("conv", "fc") else self.name

    def error(self, tensor: str, text: str) -> UserError:
        """An error about one of its tensors, to be raised."""
        return UserError(f"{self.source}: {self.name}.{tensor} {text}")

    @property
    def shape(self) -> list[int]:
        """The shape of its weight."""
        return list(self.tensors["weight"].shape)

    @property
    def is_recurrent(self) -> bool:
        """Whether it's neurons that read their own spikes."""
        return not _FED_BACK.isdisjoint(self.tensors)

    @property
    def fed_back(self) -> tuple[str, torch.Tensor, torch.Tensor | None]:
        """The weights of neurons' own spikes: their name, the weights, and a bias."""
        name = next(one for one in (f"{_RECURRENT}.weight", f"{_RECURRENT}.V", "V") if one in self.tensors)
        return name, self.tensors[name], self.tensors.get(f"{_RECURRENT}.bias")

    @property
    def neuron(self) -> Neuron:
        """The neuron model of a `lif`: the one with the most parameters that are all present."""
        possible = [kind for kind in READ if kind.parameters.keys() <= self.tensors.keys()]
        return max(possible, key=lambda kind: len(kind.parameters))

    @property
    def per_channel(self) -> tuple[int, ...]:
        """The shape of a parameter with one value per channel of this layer: [C, 1, 1], or [n] of a linear layer."""
        return (self.shape[0], 1, 1) if self.kind == "conv" else (self.shape[0],)

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
        path, _, name = key.rpartition(".")
        groups.setdefault(path, {})[name] = tensor
    for path in list(groups):
        owner, _, name = path.rpartition(".")
        if name == _RECURRENT and groups.get(owner, {}).keys() >= _NEURON:
            groups[owner] |= {f"{name}.{key}": tensor for key, tensor in groups.pop(path).items()}
    return [_identified(Module(source, name, group)) for name, group in groups.items()]


def _identified(module: Module) -> Module:
    """The module with its kind."""
    names, known = module.tensors.keys(), f"expected only Conv2d, Linear, BatchNorm2d and {SPIKING}"
    if late := [name for name in sorted(names) if "delay" in name.lower()]:
        reason = "is a delay, learned or of fractional steps as in snntorch.SynapticDelay"
        raise module.error(late[0], f"{reason}, {known}; delays of whole steps are nodes of --network, as in lif1@3")
    if names & {"running_mean", "running_var"}:
        for name in sorted({"running_mean", "running_var"} - names):
            raise module.error(name, "is missing, expected the running statistics of a BatchNorm")
        kind, allowed = "norm", _NORM | {"weight", "bias"}
    elif names >= _NEURON:
        kind, allowed = "lif", _NEURON | _NEURON_MAY
    elif "weight" in names:
        if len(module.shape) == 1:
            others = f"other modules with a weight of shape {module.shape}, such as GroupNorm, aren't supported"
            raise module.error("running_mean", f"is missing, expected the running statistics of a BatchNorm; {others}")
        if len(module.shape) not in (2, 4):
            raise module.error("weight", f"has shape {module.shape}, expected that of a Conv2d or Linear")
        kind, allowed = "conv" if len(module.shape) == 4 else "fc", {"weight", "bias"}
    else:
        raise UserError(f"{module.source}: {module.name or 'the file'} has {', '.join(sorted(names))}, {known}")
    for name in sorted(names - allowed):
        raise module.error(name, f"isn't a tensor of {KINDS[kind]}, {known}")
    return module._replace(kind=kind)


class Stack(NamedTuple):
    """The modules in execution order.

    Attributes:
        layers: modules with weights.
        neurons: one for each layer; the last layer may have none.
        norms: the BatchNorm of each layer, or None.
        notes: assumptions, one line each.
    """

    layers: list[Module]
    neurons: list[Module]
    norms: list[Module | None]
    notes: list[str]


def stack(modules: Sequence[Module], places: Sequence[str], source: str, ordered: bool = True) -> Stack:
    """Puts every module in its place.

    Args:
        modules: in the order in which they were registered; convolutions come before linear layers.
        places: "name=place" for modules whose order differs from the network: `conv1`, ..., `fc1`, ... for a layer,
            `lif1`, ... for a neuron, and the preceding layer for a BatchNorm.
        source: the file, for messages.
        ordered: whether they were registered in this order; if not, it comes from the numbers in their names.

    Raises:
        UserError: modules can't be placed; the message lists all modules.
    """
    return _Placing(modules, places, source, ordered).stack()


class _Placing:
    """Finds the places of modules.

    Attributes:
        modules, source: as for `stack`.
        mapped: (module, place) of every --map.
        in_line: whether neurons and norms follow their layers in the order of registration.
        convs, layers: the convolutions, and all layers in order.
        notes: assumptions so far.
    """

    def __init__(self, modules: Sequence[Module], places: Sequence[str], source: str, ordered: bool):
        self.modules, self.source, self.notes = modules, source, list[str]()
        self.mapped = self._mapped(places)
        if not ordered:
            for kind in KINDS:
                self._check_numbered(kind)
        self.convs, linears = self._ordered("conv"), self._ordered("fc")
        self.layers = [*self.convs, *linears]
        if not linears:
            raise UserError(f"{source}: has no Linear layer, expected one at the end; found {self._listed()}")
        for kind in KINDS:
            self._note_disorder(kind)
        self.in_line = (
            ordered or len({_unnumbered(module.name) for module in modules}) == 1
        )  # such as net.0, net.1, ...

    def stack(self) -> Stack:
        neurons = self._neurons()
        return Stack(self.layers, neurons, self._norms(), self.notes)

    def _listed(self) -> str:
        return ", ".join(map(str, self.modules)) or "nothing"

    def _of_kind(self, kind: str) -> list[Module]:
        return [module for module in self.modules if module.kind == kind]

    def _free(self, kind: str) -> list[Module]:
        """The modules of a kind that no --map places."""
        return [module for module in self._of_kind(kind) if module.name not in dict(self.mapped)]

    def _mapped(self, places: Sequence[str]) -> list[tuple[str, str]]:
        """(module, place) of every --map, checked as far as the names allow."""
        named = {module.name: module for module in self.modules}
        mapped = []
        for text in places:
            name, separator, place = text.partition("=")
            if not separator or not name or not place or len(place) > 10:
                raise UserError(f"--map {text[:80]}: expected NAME=PLACE, such as encoder=conv1")
            if name not in named:
                expected = f"expected one of {', '.join(named)}"
                raise UserError(f"--map {text}: {self.source} has no module {name}, {expected}")
            kind = place.rstrip("0123456789")
            wanted = ("conv", "fc") if named[name].kind == "norm" else (named[name].kind,)
            if kind not in wanted or kind == place or int(place.removeprefix(kind)) < 1:
                expected = " or ".join(f"{kind}1, {kind}2, ..." for kind in wanted)
                raise UserError(f"--map {text}: {name} is {KINDS[named[name].kind]}, expected {expected} as its place")
            mapped.append((name, place))
        taken = Counter(place for name, place in mapped if named[name].kind != "norm")
        for place, times in taken.items():
            if times > 1:
                both = " and ".join(name for name, other in mapped if other == place)
                raise UserError(f"--map: {both} both have the place {place}, expected one module there")
        return mapped

    def _check_numbered(self, kind: str) -> None:
        """Raises UserError if numbers in the modules' names don't determine their order."""
        names = [module.name for module in self._free(kind)]
        if len(set(map(_unnumbered, names))) > 1:
            raise UserError(
                f"{self.source}: {', '.join(names)}: neither the safetensors file nor numbers in their names give "
                "their order, expected a place for each of them with --map NAME=conv1 ..."
            )

    def _note_disorder(self, kind: str) -> None:
        """Notes that the numbers in the names contradict the order of declaration, which takes precedence."""
        names = [module.name for module in self._free(kind)]
        numbers = [int(match[0]) for name in names if (match := re.search(r"[0-9]{1,9}$", name))]
        if len(numbers) == len(names) and numbers != sorted(numbers):
            self.notes.append(f"using {', '.join(names)} in the order of their declaration; use --map for other places")

    def _ordered(self, kind: str, count: int | None = None) -> list[Module]:
        """The modules of a kind in order: those of --map in their places, and the others in the remaining ones."""
        modules = {module.name: module for module in self._of_kind(kind)}
        fixed = {int(place.removeprefix(kind)): modules[name] for name, place in self.mapped if name in modules}
        rest = iter(self._free(kind))
        total = len(modules) if count is None else max(count if fixed else 0, len(modules))
        for number, module in fixed.items():
            if number > total:
                raise UserError(f"--map {module.name}={kind}{number}: {self.source} has only {total} such places")
        placed = [fixed.get(number) or next(rest, None) for number in range(1, total + 1)]
        if left := [module.name for module in rest]:
            raise UserError(f"--map: no place is left for {', '.join(left)}, expected fewer modules or other places")
        return [module for module in placed if module is not None]

    def _neurons(self) -> list[Module]:
        """The neurons in the order of their layers, where the last may have none."""
        neurons, depth, bare = self._of_kind("lif"), len(self.layers), self._ends_bare()
        if len(neurons) == 1 and depth > 1 and not bare and self._free("lif"):
            return self._shared(neurons[0])
        placed = self._ordered("lif", depth)
        if len(placed) != depth - bare:
            raise UserError(
                f"{self.source}: {depth} layers have weights and {len(placed)} neurons were found, expected an "
                f"{SPIKING} for each, for each but the last, or one for all; for one that some layers share, give a "
                f"place for each, as in --map NAME=lif1 NAME=lif2; found {self._listed()}"
            )
        return placed

    def _ends_bare(self) -> bool:
        """Whether the last layer has no neuron: by --map, or because one is missing and the order shows where.

        If neurons are declared apart from the layers, names that differ only in their numbers show it: `lif1` and
        `lif2`. Otherwise, two neurons may be one that hidden layers share and one for the last layer.
        """
        neurons, depth = self._of_kind("lif"), len(self.layers)
        places = {place for _, place in self.mapped if place.startswith("lif")}
        if not self._free("lif"):
            return bool(neurons) and places == {f"lif{number}" for number in range(1, depth)}
        if len(neurons) != depth - 1 or f"lif{depth}" in places:
            return False
        at, first = [self.modules.index(neuron) for neuron in neurons], min(map(self.modules.index, self.layers))
        last = self.modules.index(self.layers[-1])
        if self.in_line and any(first < place < last for place in at):
            return max(at) < last
        return depth > 2 and len({_unnumbered(neuron.name) for neuron in neurons}) == 1

    def _shared(self, neuron: Module) -> list[Module]:
        """A single neuron declared apart from the layers, if its values per channel don't fit the last layer.

        Raises:
            UserError: they fit all layers, so it may follow all of them, or all but the last; or it's between layers,
                so it belongs to the preceding one, and others have none.
        """
        name, at = neuron.name, self.modules.index(neuron)
        weighted = [number for number, module in enumerate(self.modules) if module.kind in ("conv", "fc")]
        if min(weighted) < at < max(weighted):
            raise UserError(
                f"{self.source}: {name} is between {len(weighted)} layers, expected an {SPIKING} after each of them, "
                f"or each but the last; if all share {name}, use --map {name}=lif1 {name}=lif2 ..."
            )
        *hidden, last = self.layers
        if all(layer.takes(neuron.tensors[key]) for layer in self.layers for key in neuron.neuron.parameters):
            places = [f"{name}=lif{number}" for number in range(1, len(self.layers) + 1)]
            raise UserError(
                f"{self.source}: {name} may follow all {len(places)} layers, or all but {last.name}, which the file "
                f"doesn't show; expected --map {' '.join(places)}, or --map {' '.join(places[:-1])}"
            )
        if len(hidden) > 1:
            self.notes.append(f"{len(hidden)} layers share the neuron {name}")
        return [neuron] * len(hidden)

    def _norms(self) -> list[Module | None]:
        """The BatchNorm after each layer: by --map, otherwise the one registered after it, otherwise in order."""
        names = [
            f"{layer.kind}{1 + number - len(self.convs) * (layer.kind == 'fc')}"
            for number, layer in enumerate(self.layers)
        ]
        after: dict[int, Module] = {}
        for norm in self._of_kind("norm"):
            if place := dict(self.mapped).get(norm.name):
                if place not in names:
                    raise UserError(f"--map {norm.name}={place}: expected one of {', '.join(names)}")
                self._take(after, names.index(place), norm)
        free = self._free("norm")
        order = [module.name for module in self.modules if module.kind != "lif"]
        before = {norm.name: order[order.index(norm.name) - 1] for norm in free if order.index(norm.name)}
        places = {layer.name: number for number, layer in enumerate(self.layers)}
        if not free or (self.in_line and all(before.get(norm.name) in places for norm in free)):
            numbers = [places[before[norm.name]] for norm in free]
            for norm, number in zip(free, numbers, strict=True):
                between = self.modules[self.modules.index(self.layers[number]) : self.modules.index(norm)]
                if any(module.kind == "lif" for module in between):
                    raise UserError(
                        f"{self.source}: {norm.name} comes after the neuron {between[-1].name}, where csnn_jax doesn't "
                        f"support a BatchNorm; if it comes before the neuron, use --map {norm.name}={names[number]}"
                    )
        else:  # registered apart from the layers: in order after the convolutions
            numbers = [number for number in range(len(self.convs)) if number not in after]
            if len(numbers) != len(free):
                raise UserError(
                    f"{self.source}: {len(free)} BatchNorms for {len(numbers)} convolutions, expected one for each; "
                    f"give the preceding layer of each with --map NAME=conv1 ...; found {self._listed()}"
                )
        for number, norm in zip(numbers, free, strict=True):
            self._take(after, number, norm)
        return [after.get(number) for number in range(len(self.layers))]

    def _take(self, after: dict[int, Module], number: int, norm: Module) -> None:
        layer, channels = self.layers[number], norm.tensors["running_mean"].numel()
        if number in after:
            names = f"{after[number].name} and {norm.name}"
            raise UserError(f"{self.source}: {names} both follow {layer.name}, expected one")
        if channels != layer.shape[0]:
            raise UserError(
                f"{self.source}: {norm.name} has {channels} channels and {layer.name} {layer.shape[0]}, expected equal "
                f"numbers; give its preceding layer with --map {norm.name}=conv1 or another layer"
            )
        after[number] = norm


def _unnumbered(name: str) -> str:
    return re.sub(r"[0-9]+", "0", name)
