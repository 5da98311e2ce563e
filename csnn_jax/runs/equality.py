"""Compares the results of two programs: equal values, ignoring how processors treat subnormals."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from csnn_jax.config import ModelConfig
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.window import Trace, output, summed

SMALLEST = np.float32(2.0**-126)
"""XLA flushes smaller numbers to 0; torch, ONNX Runtime and C keep them. No spike depends on them (docs/design.md)."""
KINDS = ("spikes", "membranes", "predictions")
"""What a `Comparison` counts."""


def canonical(values: np.ndarray) -> np.ndarray:
    """Membranes or spikes in float32, with subnormals and -0 replaced by 0, so equal values have equal bytes."""
    values = np.asarray(values, np.float32)
    return np.where(np.abs(values) < SMALLEST, np.float32(0), values)


def differing(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where values differ, bool; NaN differs from everything.

    Raises:
        ValueError: the shapes differ.
    """
    if np.shape(one) != np.shape(other):
        raise ValueError(f"{list(np.shape(one))} and {list(np.shape(other))}, expected equal shapes")
    return canonical(one) != canonical(other)


def differ(one: np.ndarray, other: np.ndarray) -> int:
    """Counts values that differ, see `differing`."""
    return int(np.count_nonzero(differing(one, other)))


class Place(NamedTuple):
    """A neuron at a step. Everything counts from 0, and places sort by step, then node, image and neuron.

    Attributes:
        step, image: as recorded.
        number: of the node in the expected trace.
        neuron: (channel, row, column), or (number,) in a linear layer.
        node: the node's name.
    """

    step: int
    number: int
    image: int
    neuron: tuple[int, ...]
    node: str

    def __str__(self) -> str:
        names = ("neuron",) if len(self.neuron) == 1 else ("channel", "row", "column")
        neuron = ", ".join(f"{name} {number}" for name, number in zip(names, self.neuron, strict=True))
        return f"step {self.step}, {self.node}, image {self.image}, {neuron}"


class Difference(NamedTuple):
    """The first difference.

    Attributes:
        place: where it is.
        values: (expected, other) values there by name, such as `spike` and `membrane`; some are equal.
    """

    place: Place
    values: dict[str, tuple[float, float]]


@dataclass
class Count:
    """Numbers of values: compared, different, and, for spikes, nonzero in the expected ones and in the others."""

    compared: int = 0
    different: int = 0
    active: tuple[int, int] = (0, 0)


@dataclass
class Comparison:
    """How a program's windows differ from the expected ones, a batch of images at a time.

    Attributes:
        model: the network, whose output gives the predictions; None: they aren't compared.
        images, time_steps: of the windows so far, and of each.
        spikes, membranes: counts by node; other states count as membranes.
        predictions: classes, one for each image.
        first: the first difference; None: there's none.
    """

    model: ModelConfig | None = None
    images: int = 0
    time_steps: int = 0
    spikes: dict[str, Count] = field(default_factory=dict)
    membranes: dict[str, Count] = field(default_factory=dict)
    predictions: Count = field(default_factory=Count)
    first: Difference | None = None

    def add(self, expected: Trace, other: Trace) -> None:
        """Compares what both show of the next images.

        Args:
            expected: NumPy arrays in torch's layout, with the nodes in order.
            other: the same from the other program.

        Raises:
            ValueError: the shapes differ.
        """
        firsts, images = [] if self.first is None else [self.first], 0
        for number, node in enumerate(dict.fromkeys((*expected.states, *expected.spikes))):
            left, right = _by_name(expected, node), _by_name(other, node)
            pairs = {name: (left[name], right[name]) for name in left if name in right}
            for name, pair in pairs.items():
                where = differing(*pair)
                self.time_steps, images = where.shape[:2]
                count = (self.spikes if name == "spike" else self.membranes).setdefault(node, Count())
                count.compared += where.size
                count.different += int(np.count_nonzero(where))
                if name == "spike":
                    one, two = (int(np.count_nonzero(array)) for array in pair)
                    count.active = count.active[0] + one, count.active[1] + two
                if where.any():
                    at = step, image, *neuron = tuple(map(int, np.unravel_index(where.argmax(), where.shape)))
                    values = {name: (float(one[at]), float(two[at])) for name, (one, two) in pairs.items()}
                    firsts.append(Difference(Place(step, number, self.images + image, tuple(neuron), node), values))
        self.first = min(firsts, key=lambda one: one.place, default=None)
        self.images += images
        if self.model is not None:
            classes, others = (summed(output(self.model, *trace)).argmax(1) for trace in (expected, other))
            self.predictions.compared += images
            self.predictions.different += int(np.count_nonzero(classes != others))

    @property
    def different(self) -> int:
        """Number of spikes and membranes that differ."""
        return sum(count.different for count in (*self.spikes.values(), *self.membranes.values()))

    def figures(self) -> dict[str, int]:
        """The counts over all nodes, for files."""
        figures = {"images": self.images, "time_steps": self.time_steps}
        for kind in KINDS:
            counts = [self.predictions] if kind == "predictions" else getattr(self, kind).values()
            figures[kind] = sum(count.compared for count in counts)
            figures[f"different_{kind}"] = sum(count.different for count in counts)
        return figures

    def sentences(self, whose: str) -> list[str]:
        """What differs, in total and by node, and where first; empty if nothing does.

        Args:
            whose: the program that gave the expected values.
        """
        if self.first is None:
            return []
        nodes = {}
        for kind, counts in (("spikes", self.spikes), ("membranes", self.membranes)):
            if here := [f"{count.different:,} in {node}" for node, count in counts.items() if count.different]:
                nodes[kind] = f" ({', '.join(here)})"
        values = (f"{name} {two:.9g}, {whose}'s {one:.9g}" for name, (one, two) in self.first.values.items())
        return [in_words(self.figures(), whose, nodes=nodes), f"first at {self.first.place}: {'; '.join(values)}"]


def in_words(
    figures: Mapping[str, int], whose: str, kinds: Iterable[str] = KINDS, nodes: Mapping[str, str] | None = None
) -> str:
    """How many of the compared values differ.

    Args:
        figures: of a `Comparison`.
        whose: the program that gave the expected values.
        kinds: which of `KINDS` to state, if they were compared.
        nodes: what to add to a kind: where its values differ.
    """
    counts = [
        f"{figures[f'different_{kind}']:,} of {figures[kind]:,} {kind}{(nodes or {}).get(kind, '')}"
        for kind in kinds
        if figures[kind]
    ]
    *before, last = counts
    listed = f"{', '.join(before)} and {last}" if before else last
    return f"{listed} differ from those of {whose}"


def _by_name(trace: Trace, node: str) -> dict[str, np.ndarray]:
    """What a trace shows of a node."""
    spikes = {"spike": trace.spikes[node]} if node in trace.spikes else {}
    states = trace.states.get(node, {})
    return spikes | {"membrane" if name == MEMBRANE else name: state for name, state in states.items()}
