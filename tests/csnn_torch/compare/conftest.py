"""What the comparison's tests share."""

import numpy as np
import pytest
import torch

from csnn_jax.config import ModelConfig
from csnn_jax.runs import layouts
from csnn_torch.compare.cases import Case

torch.set_num_threads(1)

STACK = ModelConfig(
    input_shape=(8, 8, 1), conv_channels=(4,), hidden=(12,), num_classes=4, time_steps=8, scale=1.0, input_bits=0
)


@pytest.fixture
def case() -> Case:
    """Whole eighths and binary images: many membranes lie on the threshold, and windows have ties."""
    rng = np.random.default_rng(2)
    shapes = layouts.expected_shapes(STACK)
    tensors = {name: (rng.integers(-8, 7, shape) / 8).astype(np.float32) for name, shape in shapes.items()}
    images = rng.integers(0, 2, (6, 8, 8, 1)).astype(np.uint8)
    return Case("run", STACK, tensors, images, rng.integers(0, 4, 6))
