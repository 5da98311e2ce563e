"""The sizes of a comparison: images, iterations, seeds."""

from dataclasses import dataclass
from typing import get_args

from csnn_jax.config import SurrogateName
from csnn_torch.compare import worker

ENGINES = ("scan", "event")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The number of images, iterations, seeds and rounds in a comparison.

    Attributes:
        images: number of test images for membranes, spikes and predictions.
        gradient_images: number of these images for gradients.
        surrogates: surrogates whose gradients are compared on the run's network; None: only the run's own.
        variants: whether to compare variants of the run's network, too.
        variant_images: number of test images per variant.
        variant_iterations: training iterations of each variant, and of the network itself if there's no run.
        seeds: seeds of the initial weights for training in float32. Empty: one training run from the run's weights,
            because it's too short for a network that's silent at first.
        iterations: training iterations in float32.
        time_steps: limit on their time steps, to make many seeds affordable; None: the run's.
        exact_iterations: training iterations in float64, from the run's weights.
        exact_batch: their batch size.
        sides: sides whose cost is measured.
        turns: processes per side.
        rounds: timed iterations and batches per process.
    """

    images: int
    gradient_images: int
    surrogates: tuple[SurrogateName, ...] | None
    variants: bool
    variant_images: int
    variant_iterations: int
    seeds: tuple[int, ...]
    iterations: int
    time_steps: int | None
    exact_iterations: int
    exact_batch: int
    sides: tuple[str, ...]
    turns: int
    rounds: int

    @classmethod
    def full(cls) -> "Plan":
        """The comparison behind the results in this repository."""
        return cls(
            images=1000,
            gradient_images=16,
            surrogates=get_args(SurrogateName),
            variants=True,
            variant_images=200,
            variant_iterations=150,
            seeds=tuple(range(6)),
            iterations=80,
            time_steps=10,
            exact_iterations=20,
            exact_batch=32,
            sides=tuple(worker.SIDES),
            turns=3,
            rounds=5,
        )

    @classmethod
    def quick(cls) -> "Plan":
        """About 4 minutes on two CPU cores."""
        return cls(
            images=20,
            gradient_images=4,
            surrogates=None,
            variants=False,
            variant_images=20,
            variant_iterations=80,
            seeds=(),
            iterations=3,
            time_steps=None,
            exact_iterations=20,
            exact_batch=4,
            sides=(*ENGINES, "snntorch"),
            turns=3,
            rounds=1,
        )
