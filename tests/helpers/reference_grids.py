"""The grids that docs/design.md gives the weights of a graph, written from that page alone, in NumPy."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import numpy as np
from reference_layers import Settings, setting
from reference_nodes import NEURONS, Described, Node, Nodes, Signal, Term, built

Array = np.ndarray
Tensors = Mapping[str, Any]


def power_above(values: Array) -> Array:
    """x where 2^x is the smallest power of two above each value; -60 is the least."""
    exponents = np.frexp(values)[1]
    return np.maximum(np.where(values > 0, exponents, -60), -60)


def best_exponents(weight_bits: int, weight: Array, lowest: Array, usual: Array) -> Array:
    """Which of x, x - 1, x - 2, x - 3 (not below `lowest`) has the least squared error; the largest on ties."""
    best, least = usual, np.full(usual.shape, np.inf)
    for less in range(4):
        x = usual - less
        step = np.exp2(x - weight_bits + 1)[:, None]
        most = 2 ** (weight_bits - 1) - 1
        error = ((np.clip(np.rint(weight / step), -most, most) * step - weight) ** 2).sum(1)
        better = (error < least) & (x >= lowest)
        best, least = np.where(better, x, best), np.where(better, error, least)
    return best


def most_extra(bits: int, weight_bits: int | None) -> int:
    """How many bits a neuron may get beyond B."""
    return 0 if bits >= 8 else 4 if weight_bits is None else min(max(weight_bits - 1 - bits, 0), 4)


def sums(nodes: Nodes) -> list[tuple[Term, ...]]:
    """What is added up: for each sum, the weighted nodes with log2 of how many values and of what divides them."""
    result: list[tuple[Term, ...]] = []
    for one in nodes.values():
        if one.kind in NEURONS:
            inputs = [nodes[source].terms for source, _ in one.inputs]
            result += inputs if one["separate"] else [sum(inputs, start=())]
    return result


def groups(nodes: Nodes) -> list[list[str]]:
    """The names of weighted nodes whose products meet in a sum, directly or through others."""
    result: list[list[str]] = []
    for terms in sums(nodes):
        names = {name for name, _, _ in terms}
        names |= {name for group in result if names & set(group) for name in group}
        result = [group for group in result if not names & set(group)]
        result += [[name for name in nodes if name in names]] if names else []
    return result


def products(one: Node) -> int:
    """n: how many products a neuron adds."""
    if one.kind == "one_to_one":
        return 1
    return one.size**2 * one.entering[-1] if one.kind == "convolution" else one.entering[0]


@dataclass(frozen=True)
class Group:
    """Weighted nodes with a common unit.

    Attributes:
        sums: the sums that they enter.
        common_bits: P.
    """

    members: tuple[Node, ...]
    signals: tuple[Signal, ...]
    sums: tuple[tuple[Term, ...], ...]
    common_bits: int

    @property
    def least_bits(self) -> int:
        """The smallest B_i."""
        return self.common_bits - max(signal.bits for signal in self.signals)


def grouped(nodes: Nodes) -> list[Group]:
    """Every group with its P."""
    result = []
    for names in groups(nodes):
        shared = tuple(terms for terms in sums(nodes) if terms and terms[0][0] in names)
        most = 0.0
        for terms in shared:
            deepest = max(divided for _, _, divided in terms)
            each = ((products(nodes[name]) + 8) * 2 ** (added + deepest - div) for name, added, div in terms)
            most = max(most, sum(each))
        members = tuple(nodes[name] for name in names)
        signals = tuple(one.read for one in members if one.read)
        group = Group(members, signals, shared, 24 - ceil(log2(most)))
        if group.least_bits < 4:
            raise ValueError(f"{', '.join(names)}: only {group.least_bits} bits are left for a weight")
        result.append(group)
    return result


def rounded(described: Described, settings: Settings, tensors: Tensors) -> dict[str, Array]:
    """Every weight and bias on its grid, in float64, and the exponents if there are fewer than five bits."""
    nodes, result = built(described, settings), {}
    for group in grouped(nodes):
        flat, shapes = {}, {}
        for one in group.members:
            weight = np.asarray(tensors[f"{one.name}.weight"], np.float64)
            bias = np.asarray(tensors[f"{one.name}.bias"], np.float64) if one.has_bias else np.zeros(len(weight))
            flat[one.name], shapes[one.name] = (weight.reshape(len(weight), -1), bias), weight.shape
        saved = {one.name: tensors.get(f"{one.name}.exponents") for one in group.members}
        weights, biases, exponents = on_grid(group, setting(settings, "weight_bits"), flat, saved)
        for one in group.members:
            result[f"{one.name}.weight"] = weights[one.name].reshape(shapes[one.name])
            if one.has_bias:
                result[f"{one.name}.bias"] = biases[one.name]
            if (setting(settings, "weight_bits") or 5) < 5:
                result[f"{one.name}.exponents"] = exponents[one.name]
    return result


Values = dict[str, Array]


def on_grid(
    group: Group, weight_bits: int | None, flat: Mapping[str, tuple[Array, Array]], saved: Mapping[str, Any]
) -> tuple[Values, Values, Values]:
    """Weights [channels, products] and biases on their grids, and each channel's x, by node."""
    exponents = {}
    for one, signal in zip(group.members, group.signals, strict=True):
        weight, bias = flat[one.name]
        lowest = power_above(np.abs(bias) / (8 * 2.0 ** (signal.bits - signal.step)))
        x = np.maximum(power_above(np.abs(weight).max(1)), lowest)
        if weight_bits is not None and weight_bits < 5:
            given = saved[one.name]
            x = best_exponents(weight_bits, weight, lowest, x) if given is None else np.asarray(given)
        exponents[one.name] = x
    shifts = {one.name: signal.bits - signal.step for one, signal in zip(group.members, group.signals, strict=True)}
    largest = np.max([exponents[name] + shift for name, shift in shifts.items()], 0)
    best: tuple[Values, Values] | None = None
    for extra in range(1 + most_extra(group.least_bits, weight_bits)):
        exact = group.common_bits + extra
        unit = np.exp2(largest - exact)
        weights, biases, totals = {}, {}, {}
        for one, signal in zip(group.members, group.signals, strict=True):
            weight, bias = flat[one.name]
            bits, e = exact - signal.bits, 2.0**-signal.step
            step, below = unit / e, 2.0**bits * unit / e
            if weight_bits is not None:
                unused = max(group.common_bits - signal.bits - weight_bits + 1, 0)
                y = np.maximum(exponents[one.name], largest - shifts[one.name] - unused)
                step, below = np.maximum(step, np.exp2(y - weight_bits + 1)), np.minimum(below, np.exp2(y))
            weights[one.name] = multiples(weight, step[:, None], below[:, None])
            biases[one.name] = multiples(bias, unit, 8 * np.exp2(exponents[one.name] + shifts[one.name]))
            totals[one.name] = np.abs(weights[one.name]).sum(1) * 2.0**signal.bits * e + np.abs(biases[one.name])
        fits = np.full(unit.shape, True)
        for terms in group.sums:
            deepest = max(divided for _, _, divided in terms)
            total = sum(totals[name] * 2.0 ** (added + deepest - divided) for name, added, divided in terms)
            fits &= total < 2.0**24 * unit
        if best is None:
            best = weights, biases
        else:
            for name in weights:
                best[0][name] = np.where(fits[:, None], weights[name], best[0][name])
                best[1][name] = np.where(fits, biases[name], best[1][name])
    assert best is not None
    return *best, exponents


def multiples(values: Array, step: Array, below: Array) -> Array:
    """The nearest multiples of `step`, the even one of two, that are below a limit in magnitude."""
    most = np.maximum(below / step - 1, 0)
    return np.clip(np.rint(values / step), -most, most) * step
