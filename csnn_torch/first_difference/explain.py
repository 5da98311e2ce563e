"""Compares the two sides, and finds causes of a difference by experiment: computes a network with each of them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.runs.equality import Comparison, Place
from csnn_jax.window import Trace, joined
from csnn_torch.first_difference.causes import CAUSES, of_other
from csnn_torch.first_difference.images import Inputs
from csnn_torch.first_difference.sides import Side
from csnn_torch.first_difference.simulation import Network, simulate
from csnn_torch.programs.cause import Cause

BATCH = 16
"""Number of images to run at once, so the membranes of large networks fit in memory."""
MOST = 4
"""Maximum number of causes to combine."""
LISTED = 3
"""Maximum number of findings to list if values remain unexplained."""

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


def compare(sides: Sides, inputs: Inputs) -> Compared:
    """Runs both sides, some images at a time.

    Raises:
        UserError: their layers differ, or they have nothing in common that can be compared.
    """
    comparison = Comparison()
    membranes: Sequence[tuple[float, float]] = ()
    parts: list[tuple[Trace, Trace]] = []
    for start in range(0, inputs.each[0].shape[1], BATCH):
        one, other = (side.record(x[:, start : start + BATCH]) for side, x in zip(sides, inputs.each, strict=True))
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
            shown, expected = ("x".join(map(str, one)) for one in (others[node], shape))
            raise UserError(f"{sides[1].name}: {node} has {shown} neurons, expected {expected}, as in {sides[0].name}")


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


@dataclass(frozen=True)
class Finding:
    """Causes that together make a network give the other side's values, or more of them.

    Attributes:
        causes: in the order in which they were found.
        left: number of values that still differ, in all images.
        first: whether the first difference, and everything before it, is explained.
    """

    causes: tuple[Cause, ...]
    left: int
    first: bool

    def adds_nothing_to(self, other: "Finding") -> bool:
        """Whether another finding explains as much with some of these causes."""
        return set(other.causes) < set(self.causes) and _rank(other)[:2] <= _rank(self)[:2]


@dataclass(frozen=True, eq=False)
class Experiment:
    """Compares variations of one side's network with what the other side gave.

    Attributes:
        network: the side's network.
        x: its inputs [time, images, C, H, W].
        wanted: what the other side gave that is compared.
        place: where the sides first differ.
    """

    network: Network
    x: Tensor
    wanted: Trace
    place: Place

    def reproduces(self, recorded: Trace) -> bool:
        """Whether the unchanged network reproduces its own side on the image with the first difference."""
        images = [self.place.image]
        return _compared(_of(recorded, images), self._computed((), images)).first is None

    def findings(self, other: Network | None) -> list[Finding]:
        """What explains the first difference, most complete first; if nothing does, what leaves the fewest values.

        Causes are tried on the image with the first difference: alone, and if none explains all of it, in pairs. More
        are added to the best while fewer values differ, there and in the image with the most left.

        Args:
            other: the other side's network, if it can be read.
        """
        causes = CAUSES + (of_other(self.network, other) if other else ())
        images = [self.place.image]
        findings = self._first_explained([(cause,) for cause in causes], images)
        if all(one.left for one in findings):
            findings += self._first_explained([*itertools.combinations(causes, 2)], images)
        findings = findings or self._tried([(cause,) for cause in causes], images)
        best = min(findings, key=_rank)
        while len(best.causes) < MOST and (left := self._left(best.causes)).any():
            images = [*dict.fromkeys((*images, int(left.argmax())))]
            longer = self._tried([(*best.causes, cause) for cause in causes if cause not in best.causes], images)
            better = min(longer, key=_rank)
            if better.left >= left[images].sum():
                break
            findings, best = [*findings, better], better
        return self._complete(findings) or self._partial(findings, best)

    def _first_explained(self, sets: Sequence[tuple[Cause, ...]], images: list[int]) -> list[Finding]:
        """The sets of causes that explain the first difference; the others only run the steps up to it."""
        steps = self.place.step + 1
        short = replace(self, x=self.x[:steps], wanted=self.wanted.map(lambda signal: signal[:steps]))
        return self._tried([one.causes for one in short._tried(sets, images) if one.first], images)

    def _complete(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings that explain all values of all images, with no more causes than needed."""
        whole = [one for one in findings if one.first and not one.left and not self._left(one.causes).any()]
        return sorted(dict.fromkeys(map(self._needed, whole)), key=_rank)

    def _partial(self, findings: Sequence[Finding], best: Finding) -> list[Finding]:
        """The best finding, and some others that explain the first difference, counted on all images."""
        some = [best, *(one for one in sorted(findings, key=_rank) if one.first and one is not best)][:LISTED]
        counted = sorted((replace(one, left=int(self._left(one.causes).sum())) for one in some), key=_rank)
        return [one for number, one in enumerate(counted) if not any(map(one.adds_nothing_to, counted[:number]))]

    def _needed(self, finding: Finding) -> Finding:
        """A finding that explains everything, without unnecessary causes."""
        for cause in finding.causes if len(finding.causes) > 1 else ():
            fewer = tuple(one for one in finding.causes if one is not cause)
            if not self._left(fewer).any():
                return self._needed(replace(finding, causes=fewer))
        return finding

    def _tried(self, sets: Sequence[tuple[Cause, ...]], images: list[int]) -> list[Finding]:
        """Tries sets of causes on images, the one with the first difference first; skips those that don't apply."""
        findings, here = [], self.place._replace(image=0)
        for causes in sets:
            try:
                comparison = _compared(_of(self.wanted, images), self._computed(causes, images))
            except (UserError, ValueError, KeyError):  # the network can't be computed that way, or has other layers
                continue
            explains = comparison.first is None or comparison.first.place > here
            findings.append(Finding(causes, comparison.different, explains))
        return findings

    def _left(self, causes: tuple[Cause, ...]) -> np.ndarray:
        """Number of values of each image that differ with some causes [images]."""
        left: list[int] = []
        for start in range(0, self.x.shape[1], BATCH):
            images = range(self.x.shape[1])[start : start + BATCH]
            trace = self._computed(causes, images)
            pairs = ((_of(self.wanted, [image]), _of(trace, [number])) for number, image in enumerate(images))
            left += [_compared(*pair).different for pair in pairs]
        return np.array(left)

    def _computed(self, causes: tuple[Cause, ...], images: Sequence[int]) -> Trace:
        """The network with some causes, on some images."""
        network = self.network
        for cause in causes:
            network = cause.change(network)
        return simulate(network, self.x[:, list(images)])


def _of(trace: Trace, images: Sequence[int]) -> Trace:
    """A trace of some of its images."""
    return trace.map(lambda x: x[:, images])


def _compared(expected: Trace, other: Trace) -> Comparison:
    comparison = Comparison()
    comparison.add(expected, other)
    return comparison


def _rank(finding: Finding) -> tuple[bool, int, int]:
    return not finding.first, finding.left, len(finding.causes)


def explained(sides: Sides, inputs: Inputs, result: Compared) -> tuple[int, list[Finding]] | None:
    """What explains the difference: (the side whose network was changed, findings).

    Uses a side whose network, as computed here, reproduces what the side itself gave; None if there's no such side.
    """
    assert result.comparison.first is not None
    for number, network in ((number, side.network) for number, side in enumerate(sides) if side.network):
        recorded, wanted = result.signals[number], result.signals[1 - number]
        experiment = Experiment(network, inputs.each[number], wanted, result.comparison.first.place)
        if experiment.reproduces(recorded):
            return number, experiment.findings(sides[1 - number].network)
    return None
