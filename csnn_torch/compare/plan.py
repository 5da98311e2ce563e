"""The sizes of a comparison: images, iterations, seeds."""

from dataclasses import dataclass
from typing import get_args

from csnn_jax.config import SurrogateName
from csnn_torch.compare import worker

ENGINES = ("scan", "event")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The number of images, iterations, seeds and rounds in a comparison; by default, those of this repository's.

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

    images: int = 1000
    gradient_images: int = 16
    surrogates: tuple[SurrogateName, ...] | None = get_args(SurrogateName)
    variants: bool = True
    variant_images: int = 200
    variant_iterations: int = 150
    seeds: tuple[int, ...] = tuple(range(6))
    iterations: int = 80
    time_steps: int | None = 10
    exact_iterations: int = 20
    exact_batch: int = 32
    sides: tuple[str, ...] = tuple(worker.SIDES)
    turns: int = 3
    rounds: int = 5

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
            exact_batch=4,
            sides=(*ENGINES, "snntorch"),
            rounds=1,
        )
