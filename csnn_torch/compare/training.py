"""Same training? Both frameworks train from the same weights on the same batches, side by side."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.runs.weights import Tensors
from csnn_jax.training import job
from csnn_jax.training import learner as ours
from csnn_torch import learner as theirs
from csnn_torch.compare.bounds import Check
from csnn_torch.compare.gradients import relative_errors
from csnn_torch.compare.spikes import DENSITY, fires

FLOAT64_BOUND = 1e-9  # difference of the losses, and relative distance of every parameter at the end

# Adam's learning rate for the float64 iterations. It tells the frameworks' equations apart, not chaos: at the default
# job's 1e-2, Adam's first steps throw a trained network about, and snnTorch gets 6e-7 away from itself in 20 iterations
# if every weight starts one rounding off; at 1e-3 csnn_jax stays within 3e-14 of snnTorch.
EXACT_LR = 1e-3


@dataclass(frozen=True)
class Trajectory:
    """How far two trainings went together.

    Attributes:
        start: the weights that both started from, in words.
        engine: description of csnn_jax's side.
        losses: of every iteration, by side.
        distance: ||a - b|| / ||b|| of every parameter after the last iteration.
        first_flip: the first iteration before which some layer's number of spikes on the iteration's batch, or a
            prediction, differs between the two; None: never. (Once one does, the two are on their own.)
        densities: of csnn_jax's side after the last iteration, on the last batch.
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

    @property
    def differences(self) -> list[float]:
        """|difference of the losses| of every iteration."""
        return [abs(a - b) for a, b in zip(*self.losses.values(), strict=True)]

    @property
    def counted(self) -> bool:
        """Whether every layer fires within bounds at the end."""
        return fires(self.densities)

    def checks(self) -> list[Check]:
        """Its bounds, in float64; in float32 rounding is bound to flip a spike some day."""
        if self.dtype != "float64":
            return []
        name = f"{len(self.differences)} iterations in float64"
        low, high = DENSITY
        return [
            Check(f"{name}: largest difference of the losses", max(self.differences), 0, FLOAT64_BOUND),
            Check(f"{name}: largest distance of a parameter", max(self.distance.values()), 0, FLOAT64_BOUND),
            *(Check(f"{name}: density of {layer}", d, low, high) for layer, d in self.densities.items()),
        ]

    def __str__(self) -> str:
        start = f"{self.dtype}, {len(self.differences)} iterations from {self.start} weights"
        flip = "none" if self.first_flip is None else f"at iteration {self.first_flip}"
        return f"{start}: losses within {max(self.differences):.1e}, first different spike: {flip}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"differences": self.differences, "counted": self.counted}


def together(config: Config, split: data.Split, iterations: int, tensors: Tensors | None, start: str) -> Trajectory:
    """Trains both sides.

    Args:
        config: the job: model, batch size, learning rate, type, seed.
        split: the training images.
        iterations: how many.
        tensors: the weights to start from; None: those of the seed.
        start: what they are, in words.
    """
    sides: dict[str, job.Learner] = {
        "csnn_jax": ours.Learner(config, split, tensors),
        "snntorch": theirs.Learner(replace(config, train=replace(config.train, engine="auto")), split, tensors),
    }
    losses: dict[str, list[float]] = {name: [] for name in sides}
    first_flip = None
    for iteration, index in enumerate(_batches(config, split, iterations)):
        batch = data.Split(split.images[index], split.labels[index])
        if first_flip is None and not _same_spikes(list(sides.values()), batch):
            first_flip = iteration
        for name, side in sides.items():
            losses[name].append(side.step(iteration, index)[0])
    result = sides["csnn_jax"].evaluate(batch, lambda: True)
    assert result is not None
    return Trajectory(
        start,
        config.train.dtype,
        sides["csnn_jax"].describe(),
        config.train.batch_size,
        config.train.lr,
        losses,
        relative_errors(sides["csnn_jax"].tensors(), sides["snntorch"].tensors()),
        first_flip,
        result.densities,
    )


def _batches(config: Config, split: data.Split, iterations: int) -> list[np.ndarray]:
    settings = config.train
    found: list[np.ndarray] = []
    while len(found) < iterations:
        epoch = len(found) // (len(split.labels) // settings.batch_size)
        found += list(data.epoch_batches(settings.seed, epoch, len(split.labels), settings.batch_size))
    return found[:iterations]


def _same_spikes(sides: Sequence[job.Learner], batch: data.Split) -> bool:
    one, other = (side.evaluate(batch, lambda: True) for side in sides)
    assert one is not None and other is not None
    return one.densities == other.densities and bool((one.predictions == other.predictions).all())
