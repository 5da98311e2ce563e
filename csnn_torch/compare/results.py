"""The results of each question: numbers, bounds on them, and a sentence. Imports no framework."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from csnn_torch.compare import bounds
from csnn_torch.compare.bounds import Check

LAST = 20
"""Iterations at the end of a training whose losses are averaged: one batch alone is easier or harder than another."""


@dataclass(frozen=True)
class Flip:
    """Where a spike differs first: the earliest step, its first layer, and there the first image and neuron.

    Attributes:
        ours, theirs: the two membranes there.
        distance: of the membrane from the threshold, the farther one's.
    """

    layer: str
    step: int
    image: int
    neuron: tuple[int, ...]
    ours: float
    theirs: float
    distance: float

    def __str__(self) -> str:
        place = f"{self.layer}, step {self.step}, image {self.image}, neuron {self.neuron}"
        return f"the first in {place}: membrane {self.ours:.9g}, snnTorch's {self.theirs:.9g}"


@dataclass(frozen=True)
class SpikeResult:
    """The spikes of one network, for one engine and type, beside snnTorch's.

    Attributes:
        refused: why the engine can't run it; the rest is then empty.
        compared, different: spikes in all.
        densities: snnTorch's, by layer.
        membranes: share of the membranes that are equal to the last bit.
        images_that_differ: images that have a different spike.
        farthest: the distance from the threshold of the farthest of their first different spikes, 0 where none has one.
        first: the first different spike of some of them.
        predictions: images that are classified differently, but for ties within `bounds.TIE`.
        near_ties: images that are classified differently where two classes are within it.
    """

    network: str
    engine: str
    dtype: str
    images: int
    refused: str | None = None
    compared: int = 0
    different: int = 0
    densities: dict[str, float] | None = None
    membranes: float = 0.0
    images_that_differ: int = 0
    farthest: float = 0.0
    first: tuple[Flip, ...] = ()
    predictions: int = 0
    near_ties: int = 0

    @property
    def counted(self) -> bool:
        """Whether it proves anything: the engine ran, and every layer fires within bounds."""
        return self.densities is not None and bounds.fires(self.densities)

    @property
    def undecided(self) -> bool:
        """Whether too many spikes differ, but by so little that chance may have done it.

        One float32 rounding at the threshold changed up to 33 later spikes of its image: on 30 images alone that would
        be more than one in a million.
        """
        share, bound = self.different / max(1, self.compared), bounds.FLIPS[self.dtype]
        return self.counted and bound < share <= bounds.CHANCE * bound and self.farthest <= bounds.ROUNDING

    def checks(self) -> list[Check]:
        """Its bounds, none where it does not count."""
        if not self.counted:
            return []
        name = f"{self.network}, {self.engine}, {self.dtype}"
        share = self.different / self.compared
        found = [
            Check(f"{name}: share of spikes that differ", share, 0, bounds.FLIPS[self.dtype]),
            Check(f"{name}: predictions that differ", self.predictions, 0, 0),
        ]
        if self.dtype == "float32":
            first = f"{name}: distance of a first different spike from the threshold"
            found.append(Check(first, self.farthest, 0, bounds.ROUNDING))
        return found

    def __str__(self) -> str:
        start = f"{self.network}, {self.engine}, {self.dtype}: "
        if self.refused:
            return f"{start}not run: {self.refused}"
        counts = f"{self.different} of {self.compared} spikes differ, {self.predictions} predictions"
        if not self.first:
            return start + counts
        where = f"in {self.images_that_differ} of {self.images} images"
        return f"{start}{counts}; {where}, each first one within {self.farthest:.1e} of the threshold; {self.first[0]}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"counted": self.counted}


@dataclass(frozen=True)
class GradientResult:
    """The gradients of one network, surrogate, side (an engine of csnn_jax, or "snntorch") and type.

    Attributes:
        refused: why the side can't do it; `errors` is then empty.
        errors: ||a - b|| / ||b|| of every parameter, NaN where b is zero; b is snnTorch's in float64.
        same_spikes: whether this side's spikes are those of snnTorch in float64. Where a float32 spike is not, its
            gradient is another and has no bound.
    """

    network: str
    surrogate: str
    side: str
    dtype: str
    images: int
    refused: str | None
    errors: dict[str, float]
    same_spikes: bool

    @property
    def worst(self) -> float:
        """The largest of the errors, NaN if one is."""
        return float(np.max(list(self.errors.values())))

    def checks(self) -> list[Check]:
        """Its bound. There is none for a side that can't do it, for snnTorch, or for flipped spikes in float32."""
        if self.refused or self.side == "snntorch" or (self.dtype == "float32" and not self.same_spikes):
            return []
        name = f"{self.network}, {self.surrogate}, {self.side}, {self.dtype}: largest relative error of a gradient"
        return [Check(name, self.worst, 0, bounds.GRADIENT[self.dtype])]

    def __str__(self) -> str:
        start = f"{self.network}, {self.surrogate}, {self.side}, {self.dtype}: "
        return start + (f"not run: {self.refused}" if self.refused else f"relative error {self.worst:.1e}")

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | ({} if self.refused else {"worst": self.worst})


@dataclass(frozen=True)
class Trajectory:
    """The losses of two trainings that began with equal weights, and when they parted.

    Attributes:
        start: the weights that both started from, in words.
        engine: description of csnn_jax's side.
        losses: of every iteration, by side.
        distance: ||a - b|| / ||b|| of every parameter after the last iteration.
        first_flip: the first iteration before which some layer's number of spikes on the iteration's batch, or a
            prediction, differs between the two; None: never. (Once one does, the two are on their own.)
        densities: of csnn_jax's side after the last iteration, on the last batch.
        seed, time_steps: of the job.
    """

    start: str
    dtype: str
    engine: str
    batch_size: int
    lr: float
    losses: dict[str, list[float]]
    distance: dict[str, float]
    first_flip: int | None
    densities: dict[str, float]
    seed: int
    time_steps: int

    @property
    def apart(self) -> float:
        """csnn_jax's loss less snnTorch's, the mean of the last `LAST` iterations."""
        ours, theirs = (statistics.fmean(losses[-LAST:]) for losses in self.losses.values())
        return ours - theirs

    @property
    def differences(self) -> list[float]:
        """|difference of the losses| of every iteration."""
        return [abs(a - b) for a, b in zip(*self.losses.values(), strict=True)]

    @property
    def counted(self) -> bool:
        """Whether every layer fires within bounds at the end."""
        return bounds.fires(self.densities)

    def checks(self) -> list[Check]:
        """Its bounds, in float64; in float32 rounding is bound to flip a spike some day."""
        if self.dtype != "float64":
            return []
        name = f"{len(self.differences)} iterations in float64"
        return [
            Check(f"{name}: largest difference of the losses", max(self.differences), 0, bounds.TRAINING),
            Check(f"{name}: largest distance of a parameter", max(self.distance.values()), 0, bounds.TRAINING),
            *(Check(f"{name}: density of {layer}", d, *bounds.DENSITY) for layer, d in self.densities.items()),
        ]

    def __str__(self) -> str:
        start = f"{self.dtype}, {len(self.differences)} iterations from {self.start} weights"
        flip = "none" if self.first_flip is None else f"at iteration {self.first_flip}"
        return f"{start}: losses within {max(self.differences):.1e}, first different spike: {flip}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"differences": self.differences, "counted": self.counted}


def groups(trajectories: Iterable[Trajectory]) -> list[list[Trajectory]]:
    """Trainings that differ in their seed alone, together."""
    found: dict[tuple, list[Trajectory]] = {}
    for r in trajectories:
        found.setdefault((r.dtype, r.start, r.time_steps, r.batch_size, r.lr), []).append(r)
    return list(found.values())
