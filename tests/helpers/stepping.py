"""Training steps on chosen images, outside the training loop."""

from collections.abc import Sequence

import numpy as np

from csnn_jax import data
from csnn_jax.runs.metrics import StepMetrics
from csnn_jax.training.feed import Feed
from csnn_jax.training.trainer import Trainer


def step(trainer: Trainer, split: data.Split, iteration: int, index: Sequence[int], rate: float) -> StepMetrics:
    """Runs the step of an iteration on the images `index` of a split."""
    feed = Feed(trainer.config, split, trainer.rows)  # type: ignore[attr-defined]
    return trainer.step(feed.batch(iteration, np.asarray(index)), rate)
