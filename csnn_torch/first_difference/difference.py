"""Where two recordings first differ, and in how many values."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from csnn_jax.runs.equality import Place, first_place
from csnn_torch.first_difference.recording import Recording

What = Literal["spikes", "membranes", None]
"""What is compared in a layer; None: nothing that both sides provide."""
Signals = list[np.ndarray]
"""One array for every compared layer, in order: [time, batch, *shape]."""


class Seen(NamedTuple):
    """A neuron on one side: its signal at a step, and its membrane after the previous step and after this one."""

    signal: float
    before: float | None
    after: float | None


@dataclass
class Counts:
    """Numbers of values in a layer: compared, different, and nonzero on each side."""

    compared: int = 0
    differ: int = 0
    active: tuple[int, int] = (0, 0)


@dataclass
class Comparison:
    """Two sides, compared a batch at a time.

    Attributes:
        what: what is compared in every layer.
        counts: counts of every layer.
        images: number of images so far.
        place: the first difference; None: none yet.
        seen: that neuron on each side.
        kept: the compared signals of each side, batch by batch.
    """

    what: list[What]
    counts: list[Counts] = field(init=False)
    images: int = 0
    place: Place | None = None
    seen: tuple[Seen, Seen] | None = None
    kept: tuple[list[Signals], list[Signals]] = field(default_factory=lambda: ([], []))

    def __post_init__(self):
        self.counts = [Counts() for _ in self.what]

    @property
    def differ(self) -> int:
        """Number of values that differ, in all layers."""
        return sum(one.differ for one in self.counts)

    @property
    def signals(self) -> tuple[Signals, Signals]:
        """The compared signals of each side, for all images."""
        one, other = ([np.concatenate(layer, axis=1) for layer in zip(*side, strict=True)] for side in self.kept)
        return one, other

    def add(self, one: Recording, other: Recording) -> None:
        """Compares the next images."""
        both = signals(self.what, one), signals(self.what, other)
        layers = [layer for layer, what in enumerate(self.what) if what]
        for layer, a, b in zip(layers, *both, strict=True):
            count = self.counts[layer]
            count.compared += a.size
            count.differ += int((a != b).sum())
            count.active = count.active[0] + int((a != 0).sum()), count.active[1] + int((b != 0).sum())
        place = first([a != b for a, b in zip(*both, strict=True)], self.what)
        if place is not None:
            among_all = place._replace(image=place.image + self.images)
            if self.place is None or among_all < self.place:
                self.place = among_all
                self.seen = _seen(one, self.what, place), _seen(other, self.what, place)
        self.images += both[0][0].shape[1]
        for side, found in zip(self.kept, both, strict=True):
            side.append([_small(x) for x in found])


def comparable(one: Recording, other: Recording, alike: bool) -> list[What]:
    """What can be compared in every layer.

    Args:
        one: a recording.
        other: another, with the same number of layers.
        alike: whether their membranes are read at the same moment of a step.
    """
    found: list[What] = []
    for number in range(len(one.spikes)):
        if one.spikes[number] is not None and other.spikes[number] is not None:
            found.append("spikes")
        else:
            shown = one.membranes[number] is not None and other.membranes[number] is not None
            found.append("membranes" if shown and alike else None)
    return found


def signals(what: Sequence[What], recording: Recording) -> Signals:
    """The compared signals of a recording."""
    found = []
    for kind, spikes, membranes in zip(what, *recording, strict=True):
        if kind is not None:
            signal = spikes if kind == "spikes" else membranes
            assert signal is not None
            found.append(signal)
    return found


def first(differ: Sequence[np.ndarray], what: Sequence[What]) -> Place | None:
    """The first place where signals differ; None: nowhere.

    Args:
        differ: where they differ in each compared layer, bool [time, batch, *shape].
        what: what is compared in every layer.
    """
    layers = [layer for layer, kind in enumerate(what) if kind]
    return first_place(dict(zip(layers, differ, strict=True)))


def _small(x: np.ndarray) -> np.ndarray:
    """The same numbers as bytes if they fit, as spikes do."""
    small = np.clip(x, 0, 255).astype(np.uint8)
    return small if np.array_equal(small, x) else x


def _seen(recording: Recording, what: Sequence[What], place: Place) -> Seen:
    step, layer, image, neuron = place
    kind, membranes = what[layer], recording.membranes[layer]
    signal = recording.spikes[layer] if kind == "spikes" else membranes
    assert signal is not None
    value = float(signal[step, image, *neuron])
    if membranes is None:
        return Seen(value, None, None)
    before = float(membranes[step - 1, image, *neuron]) if step else 0.0
    return Seen(value, before, float(membranes[step, image, *neuron]))
