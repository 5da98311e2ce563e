"""Identifies the modules of a state_dict by their tensors, and finds the place of each in the stack.

A Conv2d or Linear has a `weight` with four or two axes and optionally a `bias`. A BatchNorm2d has `running_mean` and
`running_var`. An `snn.Leaky` has `beta`, `threshold` and, in snnTorch 1.0, `reset_mechanism_val` and
`graded_spikes_factor`; an `snn.Synaptic` also has `alpha`. The modules' names don't matter. Their places come from
their order or from --map; layers and neurons may be registered in separate groups.
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


class Stack(NamedTuple):
    """The modules in execution order.

    Attributes:
        layers: modules with weights.
        neurons: one for each layer; the last layer may have none.
        norms: the BatchNorm of each layer, or None.
        notes: assumptions, one line each.
    """

    layers: tuple[Module, ...]
    neurons: tuple[Module, ...]
    norms: tuple[Module | None, ...]
    notes: tuple[str, ...]


def stack(found: Sequence[Module], places: Sequence[str], source: str, ordered: bool = True) -> Stack:
    """Puts every module in its place.

    Args:
        found: the modules in the order in which they were registered; convolutions come before linear layers.
        places: "name=place" for modules whose order differs from the network: `conv1`, ..., `fc1`, ... for a layer,
            `lif1`, ... for a neuron, and the preceding layer for a BatchNorm.
        source: the file, for messages.
        ordered: whether they were registered in this order; if not, it comes from the numbers in their names.

    Raises:
        UserError: modules can't be placed; the message lists all modules.
    """
    mapped = _mapped(found, places, source)
    of_kind = {kind: [module for module in found if module.kind == kind] for kind in KINDS}
    if not ordered:
        for modules in of_kind.values():
            _check_numbered([one for one in modules if not any(one.name == name for name, _ in mapped)], source)
    convs, linears = (_ordered(of_kind[kind], kind, mapped, source) for kind in ("conv", "fc"))
    layers = [*convs, *linears]
    if not linears:
        raise UserError(f"{source}: has no Linear layer, expected one at the end; found {_listed(found)}")
    notes = [note for kind in KINDS if (note := _disorder(of_kind[kind], mapped))]
    in_line = ordered or len({_unnumbered(module.name) for module in found}) == 1  # such as net.0, net.1, ...
    neurons, assumed = _neurons(found, layers, mapped, source, in_line)
    names = [*(f"conv{i + 1}" for i in range(len(convs))), *(f"fc{i + 1}" for i in range(len(linears)))]
    norms = _norms(found, layers, names, mapped, source, in_line)
    return Stack(tuple(layers), tuple(neurons), norms, (*notes, *assumed))


def _unnumbered(name: str) -> str:
    return re.sub(r"[0-9]+", "0", name)


def _check_numbered(modules: Sequence[Module], source: str) -> None:
    """Raises UserError if numbers in the modules' names don't determine their order."""
    if len({_unnumbered(module.name) for module in modules}) > 1:
        names = ", ".join(module.name for module in modules)
        raise UserError(
            f"{source}: {names}: neither the safetensors file nor numbers in their names give their order, "
            "expected a place for each of them with --map NAME=conv1 ..."
        )


def _disorder(modules: Sequence[Module], mapped: Sequence[tuple[str, str]]) -> str | None:
    """A note if the numbers in the names contradict the order of declaration, which takes precedence."""
    free = [module.name for module in modules if not any(module.name == name for name, _ in mapped)]
    numbers = [int(found[0]) for name in free if (found := re.search(r"[0-9]{1,9}$", name))]
    if len(numbers) != len(free) or numbers == sorted(numbers):
        return None
    return f"using {', '.join(free)} in the order of their declaration; use --map for other places"


def _neurons(
    found: Sequence[Module], layers: Sequence[Module], mapped: Sequence[tuple[str, str]], source: str, in_line: bool
) -> tuple[list[Module], list[str]]:
    """The neurons in the order of their layers, where the last may have none, and assumptions about them."""
    neurons, depth = [module for module in found if module.kind == "lif"], len(layers)
    bare = _ends_bare(found, layers, neurons, mapped, in_line)
    if len(neurons) == 1 and depth > 1 and not bare and not any(name == neurons[0].name for name, _ in mapped):
        _check_shared(found, neurons[0], source)
        return _after_hidden(neurons[0], layers, source)
    placed = _ordered(neurons, "lif", mapped, source, depth)
    if len(placed) != depth - bare:
        raise UserError(
            f"{source}: {depth} layers have weights and {len(placed)} neurons were found, expected an {SPIKING} for "
            "each, for each but the last, or one for all; for one that some layers share, give a place for each, as in "
            f"--map NAME=lif1 NAME=lif2; found {_listed(found)}"
        )
    return placed, []


def _ends_bare(
    found: Sequence[Module],
    layers: Sequence[Module],
    neurons: Sequence[Module],
    mapped: Sequence[tuple[str, str]],
    in_line: bool,
) -> bool:
    """Whether the last layer has no neuron: by --map, or because one is missing and the order shows that it's the last.

    If neurons are declared apart from the layers, names that differ only in their numbers show it: `lif1` and `lif2`.
    Otherwise, two neurons may be one that hidden layers share and one for the last layer.
    """
    depth, own = len(layers), {name for name, _ in mapped}
    places = {place for _, place in mapped if place.startswith("lif")}
    if all(neuron.name in own for neuron in neurons):
        return bool(neurons) and places == {f"lif{number}" for number in range(1, depth)}
    if len(neurons) != depth - 1 or f"lif{depth}" in places:
        return False
    at, first, last = (
        [found.index(neuron) for neuron in neurons],
        min(map(found.index, layers)),
        found.index(layers[-1]),
    )
    if in_line and any(first < place < last for place in at):
        return max(at) < last
    return depth > 2 and len({_unnumbered(neuron.name) for neuron in neurons}) == 1


def _check_shared(found: Sequence[Module], neuron: Module, source: str) -> None:
    """Raises UserError for a single neuron between layers: it belongs to the preceding one, and others have none."""
    at = found.index(neuron)
    weighted = [number for number, module in enumerate(found) if module.kind in ("conv", "fc")]
    if min(weighted) < at < max(weighted):
        raise UserError(
            f"{source}: {neuron.name} is between {len(weighted)} layers, expected an {SPIKING} after each of them, "
            f"or each but the last; if all share {neuron.name}, use --map {neuron.name}=lif1 "
            f"{neuron.name}=lif2 ..."
        )


def _after_hidden(neuron: Module, layers: Sequence[Module], source: str) -> tuple[list[Module], list[str]]:
    """A single neuron declared apart from the layers, if its values per channel don't fit the last layer.

    Raises:
        UserError: they fit all layers, so it may follow all of them, or all but the last.
    """
    hidden, last = layers[:-1], layers[-1]
    values = [neuron.tensors[name] for name in neuron.neuron.parameters]
    if all(layer.takes(one) for layer in layers for one in values):
        places = [f"{neuron.name}=lif{number}" for number in range(1, len(layers) + 1)]
        raise UserError(
            f"{source}: {neuron.name} may follow all {len(layers)} layers, or all but {last.name}, which the file "
            f"doesn't show; expected --map {' '.join(places)}, or --map {' '.join(places[:-1])}"
        )
    return [neuron] * len(hidden), [f"{len(hidden)} layers share the neuron {neuron.name}"] * (len(hidden) > 1)


def _mapped(found: Sequence[Module], places: Sequence[str], source: str) -> list[tuple[str, str]]:
    """(module, place) of every --map, checked as far as the names allow."""
    names = {module.name: module for module in found}
    mapped = []
    for one in places:
        old, separator, new = one.partition("=")
        if not separator or not old or not new or len(new) > 10:
            raise UserError(f"--map {one[:80]}: expected NAME=PLACE, such as encoder=conv1")
        if old not in names:
            raise UserError(f"--map {one}: {source} has no module {old}, expected one of {', '.join(names)}")
        kind = new.rstrip("0123456789")
        wanted = ("conv", "fc") if names[old].kind == "norm" else (names[old].kind,)
        if kind not in wanted or kind == new or int(new.removeprefix(kind)) < 1:
            expected = " or ".join(f"{kind}1, {kind}2, ..." for kind in wanted)
            raise UserError(f"--map {one}: {old} is {KINDS[names[old].kind]}, expected {expected} as its place")
        mapped.append((old, new))
    taken = Counter(new for old, new in mapped if names[old].kind != "norm")
    for new, times in taken.items():
        if times > 1:
            both = " and ".join(old for old, place in mapped if place == new)
            raise UserError(f"--map: {both} both have the place {new}, expected one module there")
    return mapped


def _ordered(
    found: Sequence[Module], kind: str, mapped: Sequence[tuple[str, str]], source: str, count: int | None = None
) -> list[Module]:
    """The modules of a kind in order: those of --map in their places, and the others in the remaining ones."""
    by_name = {module.name: module for module in found}
    fixed = {int(new.removeprefix(kind)): by_name[old] for old, new in mapped if old in by_name}
    placed = {module.name for module in fixed.values()}
    rest = iter([module for module in found if module.name not in placed])
    total = len(found) if count is None else max(count if fixed else 0, len(found))
    for number in fixed:
        if number > total:
            raise UserError(f"--map {fixed[number].name}={kind}{number}: {source} has only {total} such places")
    made = [fixed.get(number) or next(rest, None) for number in range(1, total + 1)]
    left = [module.name for module in rest]
    if left:
        raise UserError(f"--map: no place is left for {', '.join(left)}, expected fewer modules or other places")
    return [module for module in made if module is not None]


def _norms(
    found: Sequence[Module],
    layers: Sequence[Module],
    names: Sequence[str],
    mapped: Sequence[tuple[str, str]],
    source: str,
    in_line: bool,
) -> tuple[Module | None, ...]:
    """The BatchNorm after each layer: by --map, otherwise the one registered after it, otherwise in order."""
    norms = [module for module in found if module.kind == "norm"]
    after: dict[int, Module] = {}
    place_of = dict(mapped)
    for norm in norms:
        if norm.name in place_of:
            if place_of[norm.name] not in names:
                raise UserError(f"--map {norm.name}={place_of[norm.name]}: expected one of {', '.join(names)}")
            _take(after, names.index(place_of[norm.name]), norm, layers, source)
    free = [norm for norm in norms if norm.name not in place_of]
    order = [module.name for module in found if module.kind != "lif"]
    own = {norm.name: order[order.index(norm.name) - 1] for norm in free if order.index(norm.name)}
    places = {layer.name: number for number, layer in enumerate(layers)}
    if not free or (in_line and all(own.get(norm.name) in places for norm in free)):
        numbers = [places[own[norm.name]] for norm in free]
        for norm, number in zip(free, numbers, strict=True):
            between = found[found.index(layers[number]) : found.index(norm)]
            if any(module.kind == "lif" for module in between):
                raise UserError(
                    f"{source}: {norm.name} comes after the neuron {between[-1].name}, where csnn_jax doesn't support "
                    f"a BatchNorm; if it comes before the neuron, use --map {norm.name}={names[number]}"
                )
    else:  # registered apart from the layers: in order after the convolutions
        numbers = [number for number, layer in enumerate(layers) if layer.kind == "conv" and number not in after]
        if len(numbers) != len(free):
            raise UserError(
                f"{source}: {len(free)} BatchNorms for {len(numbers)} convolutions, expected one for each; give the "
                f"preceding layer of each with --map NAME=conv1 ...; found {_listed(found)}"
            )
    for number, norm in zip(numbers, free, strict=True):
        _take(after, number, norm, layers, source)
    return tuple(after.get(number) for number in range(len(layers)))


def _take(after: dict[int, Module], number: int, norm: Module, layers: Sequence[Module], source: str) -> None:
    layer = layers[number]
    if number in after:
        raise UserError(f"{source}: {after[number].name} and {norm.name} both follow {layer.name}, expected one")
    channels, wanted = norm.tensors["running_mean"].numel(), layer.tensors["weight"].shape[0]
    if channels != wanted:
        raise UserError(
            f"{source}: {norm.name} has {channels} channels and {layer.name} {wanted}, expected equal numbers; give "
            f"its preceding layer with --map {norm.name}=conv1 or another layer"
        )
    after[number] = norm


def _listed(found: Sequence[Module]) -> str:
    return ", ".join(map(str, found)) or "nothing"
