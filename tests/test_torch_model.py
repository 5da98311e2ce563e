"""The companion network in snnTorch gives the spikes of ours."""

import numpy as np
import pytest
import snntorch
import torch

from csnn_jax import CSNN, ModelConfig, UserError, trace
from csnn_jax.model import load_tensors
from csnn_jax.weights import expected_shapes
from csnn_torch import model as companion

STACK = {"input_shape": (12, 10, 2), "conv_channels": (5, 7), "hidden": (20,), "num_classes": 6, "time_steps": 8}


def whole_eighths(config, seed):
    """Weights, images and membranes that float32 holds exactly, so that no order of summation can matter."""
    random = np.random.default_rng(seed)
    low, high = (-8, 7) if config.pool == "max" else (-6, 8)  # a maximum is above the mean
    tensors = {
        name: (random.integers(low, high, shape) / 8).astype(np.float32)
        for name, shape in expected_shapes(config).items()
    }
    images = (random.integers(0, 3, (9, *config.input_shape)) / 2).astype(np.float32)
    return tensors, images


def snntorch_spikes(config, tensors, images):
    network = companion.sequential(config)
    companion.load_tensors(network, tensors)
    found = [[] for _ in config.layers]

    def keep(number):
        return lambda module, inputs, output: found[number].append(output[0] if isinstance(output, tuple) else output)

    for number, neuron in enumerate(m for m in network if isinstance(m, snntorch.Leaky)):
        neuron.register_forward_hook(keep(number))
    with torch.no_grad():
        companion.run(network, torch.tensor(images).permute(0, 3, 1, 2), config.time_steps)
    layers = [torch.stack(steps).numpy() for steps in found]
    return [layer.transpose(0, 1, 3, 4, 2) if layer.ndim == 5 else layer for layer in layers]


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("pool", ["max", "avg"])
def test_equal_weights_give_equal_spikes_in_every_layer(reset, pool):
    config = ModelConfig(**STACK, reset=reset, pool=pool)
    tensors, images = whole_eighths(config, 1)
    model = CSNN(config)
    load_tensors(model, tensors)
    _, ours = trace(model, images)
    for mine, theirs in zip(ours.spikes, snntorch_spikes(config, tensors, images), strict=True):
        assert 0.01 < theirs.mean() < 0.9  # neither silent nor saturated
        np.testing.assert_array_equal(np.asarray(mine), theirs)


def test_learnt_beta_and_threshold_are_loaded():
    config = ModelConfig(**STACK, learn_beta=True, learn_threshold=True)
    tensors, _ = whole_eighths(config, 2)
    network = companion.sequential(config)
    companion.load_tensors(network, tensors)
    neurons = [m for m in network if isinstance(m, snntorch.Leaky)]
    assert [n.beta.item() for n in neurons] == [float(tensors[f"lif{i}.beta"]) for i in range(1, 5)]
    assert [n.threshold.item() for n in neurons] == [float(tensors[f"lif{i}.threshold"]) for i in range(1, 5)]


@pytest.mark.parametrize("name", ["fast_sigmoid", "atan", "sigmoid", "triangular", "sparse_fast_sigmoid"])
def test_every_surrogate_with_a_slope_has_its_snntorch_name(name):
    companion.sequential(ModelConfig(surrogate=name, slope=3.0))


def test_the_surrogate_that_snntorch_can_not_run_is_refused():
    with pytest.raises(UserError, match="leaky_spike"):
        companion.sequential(ModelConfig(surrogate="leaky_spike"))
