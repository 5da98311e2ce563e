"""The results of each question: numbers, their bounds, and a sentence. Imports no framework."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax import machine
from csnn_jax.config import Config, ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.files import BUNDLE
from csnn_jax.runs import equality
from csnn_jax.runs.layouts import Tensors
from csnn_torch.compare.cost import Cost

DENSITY = 0.01, 0.60  # fraction of a layer's neurons that spike at a step: a silent network matches anything
# ||a - b|| / ||b|| of a parameter's gradient. In float32, snnTorch's own gradients are 1e-5 from its float64 ones, and
# 1e-4 if no reset keeps membranes small: a steep surrogate amplifies the membrane's rounding.
GRADIENT = {"float64": 1e-10, "float32": 1e-3}

TRAINING = 1e-9  # in float64: difference of the losses, and relative distance of every parameter at the end

# Adam's learning rate for the float64 iterations, low enough to compare equations, not chaos. At the default job's
# 1e-2, Adam's first steps are so large that snnTorch drifts 6e-7 from itself in 20 iterations if every weight starts
# one rounding off; at 1e-3, csnn_jax stays within 3e-14 of snnTorch.
EXACT_LR = 1e-3


@dataclass(frozen=True)
class Check:
    """A bound of the comparison, and the measured value.

    Attributes:
        name: what is bounded, in words.
        value: the measured value.
        low, high: the bound holds if low <= value <= high.
    """

    name: str
    value: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether the value is within the bound; NaN isn't."""
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        bound = f"at most {self.high:g}" if self.low == 0 else f"{self.low:g} to {self.high:g}"
        return f"{self.name}: {self.value:g}, expected {bound}"


def of_spiking(model: ModelConfig, densities: Sequence[float]) -> dict[str, float]:
    """The densities of the spiking layers by name, from those of all layers; an integrator is left out."""
    pairs = zip(model.graph.neurons, densities, strict=True)
    return {node.name: density for node, density in pairs if node in model.graph.spiking}


def fires(densities: Mapping[str, float]) -> bool:
    """Whether the densities of all spiking layers are within the bounds."""
    return all(DENSITY[0] <= density <= DENSITY[1] for density in densities.values())


def distances(tensors: Tensors, reference: Tensors) -> dict[str, float]:
    """||a - b|| / ||b|| of every tensor b of `reference`; NaN if b is zero, because that would show nothing."""
    errors = {}
    for name, b in reference.items():
        norm = np.linalg.norm(b.astype(np.float64))
        errors[name] = float(np.linalg.norm(tensors[name].astype(np.float64) - b) / norm) if norm > 0 else float("nan")
    return errors


def short(bound: float) -> str:
    """A power of ten: 1e-9."""
    return f"{bound:.0e}".replace("e-0", "e-")


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
    comparison: equality.Comparison = field(default_factory=equality.Comparison)

    @property
    def figures(self) -> dict[str, int]:
        """The comparison's counts."""
        return self.comparison.figures()

    @property
    def densities(self) -> dict[str, float]:
        """snnTorch's, by layer that spikes; empty if the engine can't run it."""
        counts = self.comparison.spikes
        densities = [count.active[0] / count.compared for count in counts.values()]
        return of_spiking(self.comparison.model, densities) if counts and self.comparison.model else {}

    @property
    def counted(self) -> bool:
        """Whether it proves anything: the engine ran, and every layer's density is within bounds."""
        return self.refused is None and fires(self.densities)

    def checks(self) -> list[Check]:
        """Everything must be equal; no checks if the result doesn't count."""
        name = f"{self.network}, {self.engine}"
        kinds = ("membranes", "spikes", "predictions") if self.counted else ()
        return [Check(f"{name}: {kind} that differ", self.figures[f"different_{kind}"], 0, 0) for kind in kinds]

    def __str__(self) -> str:
        start = f"{self.network}, {self.engine}: "
        if self.refused:
            return f"{start}not run: {self.refused}"
        return start + ("; ".join(self.comparison.sentences("snnTorch")) or equality.in_words(self.figures, "snnTorch"))

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
        return [Check(name, self.worst, 0, GRADIENT[self.dtype])]

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
        csnn_jax, snntorch = (statistics.fmean(losses[-LAST:]) for losses in self.losses.values())
        return csnn_jax - snntorch

    @property
    def differences(self) -> list[float]:
        """Absolute difference of the losses in every iteration."""
        return [abs(a - b) for a, b in zip(*self.losses.values(), strict=True)]

    @property
    def counted(self) -> bool:
        """Whether every layer's density is within bounds at the end."""
        return fires(self.densities)

    def checks(self) -> list[Check]:
        """Its bounds in float64; none in float32, where gradients round, and eventually a weight differs."""
        if self.dtype != "float64":
            return []
        name = f"{len(self.differences)} iterations in float64"
        return [
            Check(f"{name}: largest difference of the losses", max(self.differences), 0, TRAINING),
            Check(f"{name}: largest difference of a parameter", max(self.distance.values()), 0, TRAINING),
            *(Check(f"{name}: density of {layer}", d, *DENSITY) for layer, d in self.densities.items()),
        ]

    def __str__(self) -> str:
        start = f"{self.dtype}, {len(self.differences)} iterations from {self.start} weights"
        parted = "none" if self.parted is None else f"at iteration {self.parted}"
        return f"{start}: losses within {max(self.differences):.1e}, first different spike: {parted}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"differences": self.differences, "counted": self.counted}


def groups(trajectories: Iterable[Trajectory]) -> list[list[Trajectory]]:
    """Groups training runs that differ only in their seed."""
    grouped: dict[tuple, list[Trajectory]] = {}
    for r in trajectories:
        grouped.setdefault((r.dtype, r.start, r.time_steps, r.batch_size, r.lr), []).append(r)
    return list(grouped.values())


NAME, PAGE, RUN = "comparison.json", "comparison.md", "run"
PARTS = ("spikes", "gradients", "trajectories", "costs")


@dataclass(frozen=True)
class Origin:
    """Where an answer comes from: the command, the code's commit (None: unknown), date, seconds, machine."""

    command: str
    commit: str | None
    date: str
    seconds: float
    machine: dict[str, Any]

    @classmethod
    def of_now(cls, command: str, seconds: float) -> "Origin":
        """The origin of an answer from this process."""
        return cls(command, machine.commit(), date.today().isoformat(), round(seconds, 1), machine.describe())


@dataclass
class Comparison:
    """All results, and the compared run: its directory, configuration and weights."""

    run: str
    config: Config
    tensors: Tensors
    spikes: list[SpikeResult] = field(default_factory=list)
    gradients: list[GradientResult] = field(default_factory=list)
    trajectories: list[Trajectory] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)  # by question

    @property
    def checks(self) -> list[Check]:
        """All bounds. The run's network must fire, because otherwise they show nothing; silent variants are skipped."""
        ran = (result.densities for result in self.spikes if result.network == "run" and result.densities)
        firing = [Check(f"run: density of {layer}", density, *DENSITY) for layer, density in next(ran, {}).items()]
        results: list[SpikeResult | GradientResult | Trajectory] = [*self.spikes, *self.gradients, *self.trajectories]
        return firing + [check for result in results for check in result.checks()]

    @property
    def broken(self) -> list[Check]:
        """The bounds that don't hold."""
        return [check for check in self.checks if not check.holds]

    @property
    def pictured(self) -> bool:
        """Whether anything was compared that the picture shows."""
        return bool(self.trajectories) or any(not cost.failed for cost in self.costs)

    def as_json(self) -> dict[str, Any]:
        """The contents of comparison.json."""
        return {
            "origins": {question: asdict(origin) for question, origin in self.origins.items()},
            **{part: [result.as_json() for result in getattr(self, part)] for part in PARTS},
            "bounds": len(self.checks),
            "broken": [str(check) for check in self.broken],
        }


def check_free(out: str, overwrite: bool = False) -> None:
    """Raises UserError if the results can't go there.

    It's a run directory or a bundle; or it has files of these names and `overwrite` isn't set.
    """
    for mark, kind in ((BUNDLE, "bundle"), ("config.json", "run directory")):
        if (Path(out) / mark).exists():
            raise UserError(f"--out {out}: is a {kind}, expected another path for the comparison")
    there = [name for name in (NAME, PAGE, f"{RUN}/config.json") if (Path(out) / name).exists()]
    if there and not overwrite:
        raise UserError(f"--out {out}: already contains {there[0]}; expected another path, or --overwrite")
