"""Compares the results of two programs: equal values, ignoring how processors treat subnormals."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

SMALLEST = np.float32(2.0**-126)
"""XLA flushes smaller numbers to 0; torch, ONNX Runtime and C keep them. No spike depends on them (docs/design.md)."""


def canonical(values: np.ndarray) -> np.ndarray:
    """Membranes or spikes in float32, with subnormals and -0 replaced by 0, so equal values have equal bytes."""
    values = np.asarray(values, np.float32)
    return np.where(np.abs(values) < SMALLEST, np.float32(0), values)


def differ(one: np.ndarray, other: np.ndarray) -> int:
    """Counts values that differ; NaN differs from everything.

    Raises:
        ValueError: the shapes differ.
    """
    if np.shape(one) != np.shape(other):
        raise ValueError(f"{list(np.shape(one))} and {list(np.shape(other))}, expected equal shapes")
    return int(np.count_nonzero(canonical(one) != canonical(other)))


class Place(NamedTuple):
    """A neuron at a step. Everything counts from 0, and places sort by step, then layer, image and neuron.

    Attributes:
        step, image: as recorded.
        layer: index among all layers of neurons.
        neuron: (channel, row, column), or (number,) in a linear layer.
    """

    step: int
    layer: int
    image: int
    neuron: tuple[int, ...]

    def text(self, layer: str) -> str:
        """The place in words, with the layer's name."""
        names = ("neuron",) if len(self.neuron) == 1 else ("channel", "row", "column")
        neuron = ", ".join(f"{name} {number}" for name, number in zip(names, self.neuron, strict=True))
        return f"step {self.step}, {layer}, image {self.image}, {neuron}"


def first_place(differs: Mapping[int, np.ndarray]) -> Place | None:
    """The first place where two programs differ; None: they don't.

    Args:
        differs: where they do, by layer: bool [time, batch, channels, rows, columns] or [time, batch, neurons].
    """
    places = []
    for layer, where in differs.items():
        if where.any():
            step, image, *neuron = map(int, np.unravel_index(where.argmax(), where.shape))
            places.append(Place(step, layer, image, tuple(neuron)))
    return min(places, default=None)
