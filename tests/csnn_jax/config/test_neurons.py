"""The values of a layer's neurons: configured, or learned and then kept where the equation keeps them."""

import numpy as np
import pytest

from csnn_jax.config import ModelConfig

SEVERAL = ModelConfig(hidden=(), beta=(0.1, 0.2, 0.3), threshold=2.0)
LEARNED = ModelConfig(hidden=(), conv_channels=(), learn_beta=True, learn_threshold=True)


def test_configured_values_are_those_of_the_layer_and_files_hold_none():
    neurons = [layer.neurons for layer in SEVERAL.layers]
    assert [one.values({}) for one in neurons] == [(0.1, 2.0), (0.2, 2.0), (0.3, 2.0)]
    assert [(one.name, one.initial) for one in neurons] == [("lif1", {}), ("lif2", {}), ("lif3", {})]


@pytest.mark.parametrize("beta, kept", [(-0.25, 0.0), (0.75, 0.75), (1.5, 1.0)])
def test_learned_values_come_from_the_tensors_with_beta_clipped(beta, kept):
    neurons = LEARNED.layers[0].neurons
    assert neurons.initial == {"lif1.beta": 0.5, "lif1.threshold": 1.0}
    tensors = {"lif1.beta": np.float32(beta), "lif1.threshold": np.float64(0.3)}
    assert neurons.values(tensors) == (kept, 0.3)
