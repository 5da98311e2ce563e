"""The NumPy window against the scan engine, layer by layer."""

import jax.numpy as jnp
import numpy as np
import pytest

from csnn_jax.config import ModelConfig
from csnn_jax.engine import scan
from csnn_jax.initial import simulation
from csnn_jax.network import model as models

pytestmark = pytest.mark.numeric

STACKS = [
    {},
    {"kernel_size": (2, 3), "padding": ("valid", "same"), "stride": (1, 2), "pool": ("avg", "none"), "bias": False},
    {"pool": "avg", "reset": "zero", "beta": 0.9},
    {"pool": ("sum", "none"), "pool_after": True, "reset": "zero"},
    {"pool_after": True, "bias": False},
    {"pool": "avg", "pool_size": 2, "pool_after": True, "neuron": "synaptic", "reset": "clear"},
    {"reset": "none", "conv_channels": ()},
    {"kernel_size": 5, "threshold": (0.5, 0.7, 0.3), "conv_channels": (3,)},
]


def both(config: ModelConfig, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Every layer's spikes from NumPy and scan, with weights that fire. x is [batch, ...] or [time, batch, ...]."""
    model = models.CSNN(config, 1)
    for block in model.blocks:
        block.kernel[...] = block.kernel[...] * 6
    expected = [np.asarray(spikes) for spikes in scan.trace(model, jnp.asarray(x))[1].spikes]
    found, frames = [], x if x.ndim == 5 else x[None]
    for index, (layer, block) in enumerate(zip(config.layers, model.blocks, strict=True)):
        kernel, bias = layer.grid.round(np.asarray(block.kernel[...]), np.asarray(block.biases))
        current = simulation.current(layer, kernel, bias, frames)
        frames = simulation.spikes(current, config, index)
        found.append(frames)
    return found, expected


@pytest.mark.parametrize("changes", STACKS, ids=str)
@pytest.mark.parametrize("sequence", [False, True])
def test_it_matches_the_scan_engine(changes, sequence):
    config = ModelConfig(**({"input_shape": (9, 8, 2), "conv_channels": (4, 6), "hidden": (12,)} | changes))
    config = ModelConfig(**(vars(config) | {"num_classes": 3, "time_steps": 7}))
    shape = (7, 5, 9, 8, 2) if sequence else (5, 9, 8, 2)
    found, expected = both(config, np.float32(np.random.default_rng(0).integers(0, 256, shape)) / 256)
    assert all(0.005 < spikes.mean() < 0.9 for spikes in expected)
    for mine, spikes in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, spikes)
