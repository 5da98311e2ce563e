"""Networks of which every layer fires, for the comparison's tests."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from csnn_jax.config import Config, ModelConfig
from csnn_jax.runs import rundir, weights
from csnn_torch.compare.bounds import Check
from csnn_torch.compare.cases import Case
from csnn_torch.compare.results import Gradients, Spikes, Trajectory

STACK = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(12,), num_classes=4, time_steps=8)


def eighths() -> Case:
    """Whole eighths and binary images: sums are exact, many membranes lie on the threshold, and windows have ties."""
    rng = np.random.default_rng(2)
    shapes = weights.expected_shapes(STACK)
    tensors = {name: (rng.integers(-8, 7, shape) / 8).astype(np.float32) for name, shape in shapes.items()}
    images = (255 * rng.integers(0, 2, (6, 8, 8, 1))).astype(np.uint8)
    return Case("run", STACK, tensors, images, rng.integers(0, 4, 6))


def firing_run(path: Path) -> Path:
    """A run of a network of which every layer fires on MNIST."""
    config = Config(ModelConfig(conv_channels=(4, 6), hidden=(16,), time_steps=8))
    rng = np.random.default_rng(1)
    tensors = {}
    for name, shape in weights.expected_shapes(config.model).items():
        bound = 4 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1
        tensors[name] = rng.uniform(-bound, bound, shape).astype(np.float32)
    run = rundir.create(str(path), config)
    weights.save(run.weights, tensors, config.model)
    return run.path


def broken(results: Iterable[Spikes | Gradients | Trajectory]) -> list[Check]:
    """The bounds that do not hold."""
    return [check for result in results for check in result.checks() if not check.holds]
