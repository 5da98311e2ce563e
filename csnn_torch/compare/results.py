"""The results of each question: numbers, their bounds, and a sentence. Imports no framework."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from csnn_jax.runs.equality import Comparison, in_words
from csnn_torch.compare import bounds
from csnn_torch.compare.bounds import Check

LAST = 20
"""Number of final iterations whose losses are averaged, because some batches are easier than others."""


@dataclass(frozen=True)
class SpikeResult:
    """The membranes, spikes and predictions of a network in one engine, compared with snnTorch's in float32.

    Attributes:
        refused: why the engine can't run it; None: it can.
        comparison: the engine compared with snnTorch; nothing if it can't run.
    """

    network: str
    engine: str
    images: int
    refused: str | None = None
    comparison: Comparison = field(default_factory=Comparison)

    @property
    def figures(self) -> dict[str, int]:
        """The comparison's counts."""
        return self.comparison.figures()

    @property
    def densities(self) -> dict[str, float]:
        """snnTorch's, by layer that spikes."""
        counts = self.comparison.spikes
        densities = [count.active[0] / count.compared for count in counts.values()]
        return bounds.of_spiking(self.comparison.model, densities) if self.comparison.model else {}

    @property
    def counted(self) -> bool:
        """Whether it proves anything: the engine ran, and every layer's density is within bounds."""
        return self.refused is None and bounds.fires(self.densities)

    def checks(self) -> list[Check]:
        """Everything must be equal; no checks if the result doesn't count."""
        name = f"{self.network}, {self.engine}"
        kinds = ("membranes", "spikes", "predictions") if self.counted else ()
        return [Check(f"{name}: {kind} that differ", self.figures[f"different_{kind}"], 0, 0) for kind in kinds]

    def __str__(self) -> str:
        start = f"{self.network}, {self.engine}: "
        if self.refused:
            return f"{start}not run: {self.refused}"
        return start + ("; ".join(self.comparison.sentences("snnTorch")) or in_words(self.figures, "snnTorch"))

    def as_json(self) -> dict[str, Any]:
        about = {"network": self.network, "engine": self.engine, "refused": self.refused, "counted": self.counted}
        place: dict[str, Any] | None = None
        if first := self.comparison.first:
            place = first.place._asdict()
            for number, side in enumerate(("snntorch", "csnn_jax")):
                place[side] = {name: pair[number] for name, pair in first.values.items()}
        return about | self.figures | {"densities": self.densities, "first": place}


@dataclass(frozen=True)
class GradientResult:
    """The gradients of one network, surrogate, side (an engine of csnn_jax, or "snntorch") and type.

    Attributes:
        refused: why the side can't do it; `errors` is then empty.
        errors: ||a - b|| / ||b|| of every parameter, NaN where b is zero; b is snnTorch's in float64.
    """

    network: str
    surrogate: str
    side: str
    dtype: str
    images: int
    refused: str | None
    errors: dict[str, float]

    @property
    def worst(self) -> float:
        """The largest of the errors, NaN if one is."""
        return float(np.max(list(self.errors.values())))

    def checks(self) -> list[Check]:
        """Its bound; none for a side that can't do it, or for snnTorch."""
        if self.refused or self.side == "snntorch":
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
    """The losses of two training runs that started from equal weights, and when they diverged.

    Attributes:
        start: the weights that both started from, in words.
        engine: description of csnn_jax's side.
        losses: of every iteration, by side.
        distance: ||a - b|| / ||b|| of every parameter after the last iteration.
        parted: the first iteration before which a layer's number of spikes on the iteration's batch, or a prediction,
            differs between the two; None: never. (From then on, they are different runs.)
        densities: csnn_jax's after the last iteration, on the last batch.
        seed, time_steps: the job's.
    """

    start: str
    dtype: str
    engine: str
    batch_size: int
    lr: float
    losses: dict[str, list[float]]
    distance: dict[str, float]
    parted: int | None
    densities: dict[str, float]
    seed: int
    time_steps: int

    @property
    def apart(self) -> float:
        """csnn_jax's loss minus snnTorch's, averaged over the last `LAST` iterations."""
        ours, theirs = (statistics.fmean(losses[-LAST:]) for losses in self.losses.values())
        return ours - theirs

    @property
    def differences(self) -> list[float]:
        """Absolute difference of the losses in every iteration."""
        return [abs(a - b) for a, b in zip(*self.losses.values(), strict=True)]

    @property
    def counted(self) -> bool:
        """Whether every layer's density is within bounds at the end."""
        return bounds.fires(self.densities)

    def checks(self) -> list[Check]:
        """Its bounds in float64; none in float32, where gradients round, and eventually a weight differs."""
        if self.dtype != "float64":
            return []
        name = f"{len(self.differences)} iterations in float64"
        return [
            Check(f"{name}: largest difference of the losses", max(self.differences), 0, bounds.TRAINING),
            Check(f"{name}: largest difference of a parameter", max(self.distance.values()), 0, bounds.TRAINING),
            *(Check(f"{name}: density of {layer}", d, *bounds.DENSITY) for layer, d in self.densities.items()),
        ]

    def __str__(self) -> str:
        start = f"{self.dtype}, {len(self.differences)} iterations from {self.start} weights"
        parted = "none" if self.parted is None else f"at iteration {self.parted}"
        return f"{start}: losses within {max(self.differences):.1e}, first different spike: {parted}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"differences": self.differences, "counted": self.counted}


def groups(trajectories: Iterable[Trajectory]) -> list[list[Trajectory]]:
    """Groups training runs that differ only in their seed."""
    found: dict[tuple, list[Trajectory]] = {}
    for r in trajectories:
        found.setdefault((r.dtype, r.start, r.time_steps, r.batch_size, r.lr), []).append(r)
    return list(found.values())
