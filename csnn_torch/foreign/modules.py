"""Tells the modules of a state_dict apart by their tensors, and finds the place of each in the stack.

A Conv2d or Linear has a `weight` of four or two axes and perhaps a `bias`; a BatchNorm2d has `running_mean` and
`running_var`; a `snn.Leaky` has `beta`, `threshold` and, in snnTorch 1.0, `reset_mechanism_val` and
`graded_spikes_factor`. How they are called, and whether layers come before neurons, does not matter.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch

from csnn_jax.errors import UserError

_NORM = {"running_mean", "running_var", "num_batches_tracked"}
_LEAKY = {"beta", "threshold"}
_LEAKY_MAY = {"reset_mechanism_val", "graded_spikes_factor"}
_KINDS = {"conv": "a Conv2d", "fc": "a Linear", "lif": "a snntorch.Leaky", "norm": "a BatchNorm"}


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


class Stack(NamedTuple):
    """The modules in the order in which they run: one neuron, and perhaps a norm, for each layer with weights."""

    layers: tuple[Module, ...]
    neurons: tuple[Module, ...]
    norms: tuple[Module | None, ...]
    notes: tuple[str, ...]


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
                "snntorch.RLeaky, expected snntorch.Leaky, the only neuron that csnn_jax has"
            )
    return found


def stack(found: Sequence[Module], places: Sequence[str], source: str, ordered: bool = True) -> Stack:
    """Puts every module in its place.

    Args:
        found: the modules, in the order in which they were registered; convolutions come before linear layers.
        places: "name=place" for modules whose order does not tell: a place is `conv1`, ..., `fc1`, ... of a layer and
            `lif1`, ... of a neuron; a BatchNorm is given the layer that it follows.
        source: the file, for messages.
        ordered: whether they were registered in this order; if not, it is that of the numbers in their names.

    Raises:
        UserError: modules that can't be placed; lists what was found.
    """
    mapped = _mapped(found, places, source)
    of_kind = {kind: [module for module in found if module.kind == kind] for kind in _KINDS}
    if not ordered:
        for modules in of_kind.values():
            _check_numbered([one for one in modules if not any(one.name == name for name, _ in mapped)], source)
    convs, linears = (_ordered(of_kind[kind], kind, mapped, source) for kind in ("conv", "fc"))
    layers = [*convs, *linears]
    if not linears:
        raise UserError(f"{source}: no Linear layer is in it, expected one at the end; found {_listed(found)}")
    notes = [note for kind in _KINDS if (note := _disorder(of_kind[kind], mapped))]
    neurons = of_kind["lif"]
    if len(neurons) == 1 and len(layers) > 1 and not any(name == neurons[0].name for name, _ in mapped):
        _check_shared(found, neurons[0], source)
        notes.append(f"{neurons[0].name} is the neuron of all {len(layers)} layers")
        neurons = neurons * len(layers)
    else:
        neurons = _ordered(neurons, "lif", mapped, source, len(layers))
    if len(neurons) != len(layers):
        raise UserError(
            f"{source}: {len(layers)} layers have weights and {len(neurons)} neurons were found, expected a "
            f"snntorch.Leaky for each, the last one too, or one for all; one that some layers share gets a place for "
            f"each, as in --map NAME=lif1 NAME=lif2; found {_listed(found)}"
        )
    names = [*(f"conv{i + 1}" for i in range(len(convs))), *(f"fc{i + 1}" for i in range(len(linears)))]
    in_line = ordered or len({_unnumbered(module.name) for module in found}) == 1  # such as net.0, net.1, ...
    norms = _norms(found, layers, names, mapped, source, in_line)
    return Stack(tuple(layers), tuple(neurons), norms, tuple(notes))


def _unnumbered(name: str) -> str:
    return re.sub(r"[0-9]+", "0", name)


def _check_numbered(modules: Sequence[Module], source: str) -> None:
    """Refuses modules of a kind that numbers in their names do not put in order."""
    if len({_unnumbered(module.name) for module in modules}) > 1:
        names = ", ".join(module.name for module in modules)
        raise UserError(
            f"{source}: {names}: a safetensors file does not hold their order, and no numbers in their names tell it, "
            "expected a place for each of them by --map NAME=conv1 ..."
        )


def _disorder(modules: Sequence[Module], mapped: Sequence[tuple[str, str]]) -> str | None:
    """A line where the numbers in the names contradict the order of declaration, which counts."""
    free = [module.name for module in modules if not any(module.name == name for name, _ in mapped)]
    numbers = [int(found[0]) for name in free if (found := re.search(r"[0-9]{1,9}$", name))]
    if len(numbers) != len(free) or numbers == sorted(numbers):
        return None
    return f"{', '.join(free)} are taken in this order, in which they were declared; --map gives them other places"


def _check_shared(found: Sequence[Module], neuron: Module, source: str) -> None:
    """Refuses a single neuron that stands between layers: it belongs to the one before it, and others have none."""
    at = found.index(neuron)
    weighted = [number for number, module in enumerate(found) if module.kind in ("conv", "fc")]
    if min(weighted) < at < max(weighted):
        last = found[max(weighted)].name
        raise UserError(
            f"{source}: no snntorch.Leaky comes after {last}, expected one after every layer, the last one too; if all "
            f"share {neuron.name}, say so by --map {neuron.name}=lif1 {neuron.name}=lif2 ..."
        )


def _module(name: str, group: dict[str, torch.Tensor], source: str) -> Module:
    if group.keys() & {"running_mean", "running_var"}:
        for part in sorted({"running_mean", "running_var"} - group.keys()):
            raise UserError(f"{source}: {name}.{part} is missing, expected the running statistics of a BatchNorm")
        kind, allowed = "norm", _NORM | {"weight", "bias"}
    elif group.keys() >= _LEAKY:
        kind, allowed = "lif", _LEAKY | _LEAKY_MAY
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
    known = "Conv2d, Linear, BatchNorm2d and snntorch.Leaky"
    if not kind:
        parts = ", ".join(sorted(group))
        raise UserError(f"{source}: {name or 'the file'} has {parts}, expected a network of {known} alone")
    for part in sorted(group.keys() - allowed):
        raise UserError(f"{source}: {name}.{part} is no tensor of {_KINDS[kind]}, expected a network of {known} alone")
    return Module(name, kind, group)


def _mapped(found: Sequence[Module], places: Sequence[str], source: str) -> list[tuple[str, str]]:
    """(module, place) of every --map; checked as far as a look at the names can."""
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
            raise UserError(f"--map {one}: {old} is {_KINDS[names[old].kind]}, expected {expected} as its place")
        mapped.append((old, new))
    taken = Counter(new for old, new in mapped if names[old].kind != "norm")
    for new, times in taken.items():
        if times > 1:
            both = " and ".join(old for old, place in mapped if place == new)
            raise UserError(f"--map: {both} are both given the place {new}, expected one module for it")
    return mapped


def _ordered(
    found: Sequence[Module], kind: str, mapped: Sequence[tuple[str, str]], source: str, count: int | None = None
) -> list[Module]:
    """The modules of a kind in their places: those of --map, and the others in order where places are left."""
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
    """The BatchNorm after each layer: by --map, else the one registered after it, else in order where sizes fit."""
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
                    f"{source}: {norm.name} stands after the neuron {between[-1].name}, where csnn_jax has no "
                    f"BatchNorm; if it comes before the neuron, say so by --map {norm.name}={names[number]}"
                )
    else:  # registered apart from the layers: in order after the convolutions
        numbers = [number for number, layer in enumerate(layers) if layer.kind == "conv" and number not in after]
        if len(numbers) != len(free):
            raise UserError(
                f"{source}: {len(free)} BatchNorms for {len(numbers)} convolutions, expected one for each; say which "
                f"layer each follows by --map NAME=conv1 ...; found {_listed(found)}"
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
            f"{source}: {norm.name} has {channels} channels and {layer.name} {wanted}, expected equal numbers; say "
            f"which layer it follows by --map {norm.name}=conv1 or another"
        )
    after[number] = norm


def _listed(found: Sequence[Module]) -> str:
    return ", ".join(map(str, found)) or "nothing"
