"""Fixtures shared by the comparison's tests."""

from dataclasses import replace

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


NEURONS = {
    "synaptic, per channel": {"neuron": "synaptic", "alpha": 0.25, "learn_alpha": True, "learn_beta": True}
    | {"per_channel": ("beta", "threshold")},
    "integrator, mixed resets": {
        "output": "integrator",
        "learn_threshold": True,
        "reset": ("zero", "none", "subtract"),
    },
}
"""Neurons other than leaky ones with a single reset."""


@pytest.fixture(params=NEURONS.values(), ids=NEURONS)
def other(request, case) -> Case:
    """`case` with other neurons; some values differ per channel."""
    config = replace(case.config, **request.param)
    neurons = config.graph.initial
    spread = {name: (value + np.arange(value.size) % 3 / 8).reshape(value.shape) for name, value in neurons.items()}
    values = {name: value.astype(np.float32) for name, value in spread.items()}
    return replace(case, config=config, tensors={**case.tensors, **values})


@pytest.fixture
def case() -> Case:
    """Weights in eighths, binary images: many membranes equal the threshold exactly, and pooling windows have ties."""
    rng = np.random.default_rng(2)
    shapes = layouts.expected_shapes(STACK)
    tensors = {name: (rng.integers(-8, 7, shape) / 8).astype(np.float32) for name, shape in shapes.items()}
    images = rng.integers(0, 2, (6, 8, 8, 1)).astype(np.uint8)
    return Case("run", STACK, tensors, images, rng.integers(0, 4, 6))
