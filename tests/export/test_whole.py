"""Weights of few bits as whole numbers."""

import numpy as np
import pytest

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import on_grid
from export.whole import whole


@pytest.mark.parametrize("bits", range(2, 9))
def test_units_times_scales_are_the_weights(bits):
    config = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(), weight_bits=bits)
    random = np.random.default_rng(bits)
    tensors = {
        "conv1.weight": random.normal(size=(4, 1, 5, 5)).astype(np.float32)
        * np.float32([[[[1]]], [[[1e-9]]], [[[30]]], [[[0]]]]),
        "conv1.bias": np.zeros(4, np.float32),
        "fc1.weight": random.normal(size=(10, 64)).astype(np.float32),
        "fc1.bias": np.zeros(10, np.float32),
    }
    tensors = on_grid(config, tensors)
    for name in ("conv1.weight", "fc1.weight"):
        units, scale = whole(tensors[name])
        assert units.dtype == np.int8 and np.abs(units).max() <= 2 ** (bits - 1) - 1
        assert (np.frexp(scale)[0] == 0.5).all() and scale.dtype == np.float32
        np.testing.assert_array_equal(units * scale.reshape(-1, *[1] * (units.ndim - 1)), tensors[name])


def test_more_bits_are_refused():
    with pytest.raises(ValueError, match="at most 8 bits"):
        whole(np.float32([[1, 1 / 128]]))
