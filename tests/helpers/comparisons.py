"""A network of which every layer fires, and what is recorded, for the comparison's tests."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from csnn_jax.config import ModelConfig
from csnn_jax.runs import layouts
from csnn_torch.compare.bounds import Check
from csnn_torch.compare.cases import Case
from csnn_torch.compare.results import GradientResult, SpikeResult, Trajectory

RECORDED = Path(__file__).parents[2] / "results" / "comparison"
"""The comparison that the documents tell of."""

STACK = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(12,), num_classes=4, time_steps=8)


def eighths() -> Case:
    """Whole eighths and binary images: many membranes lie on the threshold, and windows have ties.

    Sums are exact, on every processor, as long as the images are binary: no rounding decides a tie.
    """
    rng = np.random.default_rng(2)
    shapes = layouts.expected_shapes(STACK)
    tensors = {name: (rng.integers(-8, 7, shape) / 8).astype(np.float32) for name, shape in shapes.items()}
    images = (255 * rng.integers(0, 2, (6, 8, 8, 1))).astype(np.uint8)
    return Case("run", STACK, tensors, images, rng.integers(0, 4, 6))


def broken(results: Iterable[SpikeResult | GradientResult | Trajectory]) -> list[Check]:
    """The bounds that do not hold."""
    return [check for result in results for check in result.checks() if not check.holds]
