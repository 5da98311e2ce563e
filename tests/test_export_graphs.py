"""The reference network and the ONNX graphs made from it."""

import numpy as np
import pytest
import snntorch
import torch

from csnn_jax.config import ModelConfig
from csnn_jax.weights import expected_shapes
from csnn_torch import model as companion
from export import network

OTHER = {"input_shape": (12, 10, 2), "conv_channels": (5, 7), "hidden": (20,), "num_classes": 6, "time_steps": 12}
"""A stack that differs from the default one in every size."""


def firing(config: ModelConfig, batch: int = 3) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Random weights and images uint8 of which every layer fires: a silent network matches anything."""
    for seed in range(50):
        random = np.random.default_rng(seed)
        images = random.integers(0, 256, (batch, *config.input_shape), np.uint8)
        tensors = {}
        for name, shape in expected_shapes(config).items():
            bound = 3 / np.sqrt(np.prod(shape[1:]))
            tensors[name] = random.uniform(-bound, bound, shape).astype(np.float32)
            if name.startswith("lif"):
                tensors[name] = np.float32(random.uniform(0.6, 0.95)).reshape(())
        found = network.trace(network.Step(config, tensors), network.inputs(config, images), config.time_steps)
        if all(0.02 < spikes.mean() < 0.7 for spikes in found.spikes):
            return tensors, images
    raise AssertionError(f"no seed makes every layer of {config} fire")


def snntorch_trace(config, tensors, x):
    """Spikes and membranes of every layer of the companion network, taken from snnTorch's own neurons."""
    net = companion.sequential(config)
    companion.load_tensors(net, tensors)
    neurons = [m for m in net if isinstance(m, snntorch.Leaky)]
    spikes = [[] for _ in neurons]
    membranes = [[] for _ in neurons]

    def keep(number):
        def hook(module, inputs, output):
            spikes[number].append(output[0] if isinstance(output, tuple) else output)
            membranes[number].append(module.mem)

        return hook

    for number, neuron in enumerate(neurons):
        neuron.register_forward_hook(keep(number))
    with torch.no_grad():
        companion.run(net, x, config.time_steps)
    return [torch.stack(s) for s in spikes], [torch.stack(m) for m in membranes]


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("pool", ["max", "avg"])
def test_the_step_has_the_bits_of_snntorch(reset, pool, learnt):
    config = ModelConfig(**OTHER, reset=reset, pool=pool, beta=0.9, learn_beta=learnt, learn_threshold=learnt)
    tensors, images = firing(config)
    x = network.inputs(config, images)
    found = network.trace(network.Step(config, tensors), x, config.time_steps)
    spikes, membranes = snntorch_trace(config, tensors, x)
    for mine, theirs in zip(found.spikes + found.membranes, spikes + membranes, strict=True):
        assert torch.equal(mine, theirs)


def test_a_learnt_beta_is_clipped():
    config = ModelConfig(**OTHER, learn_beta=True)
    tensors, _ = firing(config)
    tensors["lif1.beta"], tensors["lif2.beta"] = np.float32(1.5), np.float32(-0.5)
    betas = [neurons.beta.item() for neurons in network.Step(config, tensors).neurons]
    assert betas == [1.0, 0.0, tensors["lif3.beta"], tensors["lif4.beta"]]
