"""Runs both sides on the same images and compares them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.runs.equality import Comparison, Place
from csnn_jax.window import Trace, joined
from csnn_torch.first_difference.explain import BATCH, Experiment, Finding
from csnn_torch.first_difference.images import Inputs
from csnn_torch.first_difference.side import Side

Sides = tuple[Side, Side]


@dataclass
class Compared:
    """Two compared sides.

    Attributes:
        comparison: B compared with A.
        signals: what was compared on each side, for all images.
        membranes: (before, after) the step with the first difference, of that neuron on each side; empty if nothing
            differs.
    """

    comparison: Comparison
    signals: tuple[Trace, Trace]
    membranes: Sequence[tuple[float, float]]


def compare(sides: Sides, given: Inputs) -> Compared:
    """Runs both sides, some images at a time.

    Raises:
        UserError: their layers differ, or they have nothing in common that can be compared.
    """
    comparison = Comparison()
    membranes: Sequence[tuple[float, float]] = ()
    parts: list[tuple[Trace, Trace]] = []
    for start in range(0, given.each[0].shape[1], BATCH):
        one, other = (side.record(x[:, start : start + BATCH]) for side, x in zip(sides, given.each, strict=True))
        _check(sides, one, other)
        shown = comparable(one, other, sides[0].held == sides[1].held)
        if not any(shown[0].states.values()) and not shown[0].spikes:
            raise UserError(f"{sides[1].name}: shows neither the spikes nor the membranes that {sides[0].name} shows")
        before = comparison.first
        comparison.add(*shown)
        if (first := comparison.first) and first is not before:
            place = first.place._replace(image=first.place.image - start)
            membranes = _around(one, place), _around(other, place)
        parts.append((shown[0].map(_small), shown[1].map(_small)))
    one, other = (joined(side, lambda arrays: np.concatenate(arrays, axis=1)) for side in zip(*parts, strict=True))
    return Compared(comparison, (one, other), membranes)


def _check(sides: Sides, one: Trace, other: Trace) -> None:
    """Raises UserError unless both sides have the same number of neurons in every layer."""
    shapes, others = ({node: x.shape[2:] for node, x in trace.membranes.items()} for trace in (one, other))
    if shapes.keys() != others.keys():
        expected = f"expected {len(shapes)}, as in {sides[0].name}"
        raise UserError(f"{sides[1].name}: has {len(others)} layers of neurons, {expected}")
    for node, shape in shapes.items():
        if others[node] != shape:
            found, expected = ("x".join(map(str, one)) for one in (others[node], shape))
            raise UserError(f"{sides[1].name}: {node} has {found} neurons, expected {expected}, as in {sides[0].name}")


def comparable(one: Trace, other: Trace, alike: bool) -> tuple[Trace, Trace]:
    """What can be compared of two traces: the spikes of a node, or its membranes, or nothing.

    Args:
        one: a trace with the membranes of all nodes.
        other: another, with the same nodes.
        alike: whether their membranes are read at the same moment of a step.
    """
    spikes = one.spikes.keys() & other.spikes.keys()

    def of(trace: Trace) -> Trace:
        states = {node: {MEMBRANE: m} if alike and node not in spikes else {} for node, m in trace.membranes.items()}
        return Trace(states, {node: trace.spikes[node] for node in states if node in spikes})

    return of(one), of(other)


def _around(trace: Trace, place: Place) -> tuple[float, float]:
    """A neuron's membranes before and after a step."""
    of_node = trace.membranes[place.node][:, place.image, *place.neuron]
    return float(of_node[place.step - 1]) if place.step else 0.0, float(of_node[place.step])


def _small(x: np.ndarray) -> np.ndarray:
    """The same numbers as bytes if they fit, as spikes do."""
    small = np.clip(x, 0, 255).astype(np.uint8)
    return small if np.array_equal(small, x) else x


def explained(sides: Sides, given: Inputs, result: Compared) -> tuple[int, list[Finding]] | None:
    """What explains the difference: (the side whose network was changed, findings).

    Uses a side whose network, as computed here, reproduces what the side itself gave; None if there's no such side.
    """
    assert result.comparison.first is not None
    for number, network in ((number, side.network) for number, side in enumerate(sides) if side.network):
        own, wanted = result.signals[number], result.signals[1 - number]
        experiment = Experiment(network, given.each[number], wanted, result.comparison.first.place)
        if experiment.reproduces(own):
            return number, experiment.findings(sides[1 - number].network)
    return None
