"""The neuron of docs/extend/neuron.md as a NumPy loop; test_guides.py runs this after following the page."""

import numpy as np

from csnn_jax import ModelConfig, trace
from csnn_jax.network.model import CSNN, with_rounded_weights


def test_membranes_match_a_loop():
    model = CSNN(ModelConfig((4, 4, 1), (), hidden=(), num_classes=20, neuron="adaptive", beta=0.8, jump=0.3))
    model.weights["fc1"].kernel[...] *= 3  # otherwise it would be silent
    x = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), np.uint8)
    recorded, weights = trace(model, x)[1], with_rounded_weights(model).weights["fc1"]
    current = x.reshape(8, -1) / np.float32(256) @ np.asarray(weights.kernel) + np.asarray(weights.bias)
    beta, rho, jump = (np.float32(value) for value in (0.8, 0.9, 0.3))
    membrane = rise = np.zeros((8, 20), np.float32)
    for membranes, spikes in zip(recorded.membranes["lif1"], recorded.spikes["lif1"], strict=True):
        bound = np.float32(1) + rise
        fired = membrane > bound
        membrane, rise = beta * membrane + current - fired * bound, rho * rise + fired * jump
        np.testing.assert_array_equal(membranes, membrane)
        np.testing.assert_array_equal(spikes, membrane > 1 + rise)
    assert 0.05 < np.mean(recorded.spikes["lif1"]) < 0.5
