"""Dropout masks: which neurons, what share, and the same for the same seed and iteration."""

import numpy as np
import pytest

from csnn_jax.config import ModelConfig
from csnn_jax.data import batches

MODEL = ModelConfig(input_shape=(12, 12, 1), conv_channels=(4, 6), hidden=(40,), num_classes=5)


def test_inputs_of_linear_layers_are_dropped():
    assert batches.dropout_sizes(MODEL) == [3 * 3 * 6, 40]
    assert [mask.shape for mask in batches.dropout_masks(MODEL, 0.5, 0, 0, 7)] == [(7, 54), (7, 40)]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_of_neurons_kept(share):
    model = ModelConfig(input_shape=(12, 12, 1), conv_channels=(), hidden=(400, 300))
    for mask in batches.dropout_masks(model, share, 3, 5, 200):
        deviation = np.sqrt(share * (1 - share) / mask.size)
        assert mask.dtype == bool and abs(mask.mean() - (1 - share)) < 5 * deviation


def test_draws_depend_only_on_seed_and_iteration():
    first = batches.dropout_masks(MODEL, 0.5, 0, 7, 9)
    again = batches.dropout_masks(MODEL, 0.5, 0, 7, 9)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    for seed, iteration in ((1, 7), (0, 8)):
        others = batches.dropout_masks(MODEL, 0.5, seed, iteration, 9)
        for one, other in zip(first, others, strict=True):
            assert 0.3 < (one != other).mean() < 0.7
    images = first[0]
    assert 0.3 < (images[0] != images[1]).mean() < 0.7
    assert [int(mask.sum()) for mask in batches.dropout_masks(MODEL, 0.25, 0, 0, 2)] == COUNTS


COUNTS = [83, 53]
"""For seed 0, iteration 0; NumPy guarantees Philox's stream."""
