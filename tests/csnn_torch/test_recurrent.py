"""Networks that aren't chains have the same gradients and spikes in snnTorch as in csnn_jax."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import snntorch.utils
import torch
from flax import nnx

from csnn_jax import ce_rate
from csnn_jax.config import ModelConfig, NodeConfig, TrainConfig
from csnn_jax.engine import scan
from csnn_jax.network import model as models
from csnn_jax.runs.layouts import expected_shapes
from csnn_torch import losses, model

pytestmark = pytest.mark.numeric

SIZE = {"input_shape": (6, 6, 1), "time_steps": 7, "surrogate": "atan"}
FLAGS = {"conv_channels": (3,), "hidden": (12,), "num_classes": 4, "learn_beta": True, "learn_threshold": True}
MIXED = (
    NodeConfig("flat", "flatten", "image"),
    NodeConfig("a", "linear", "flat", channels=20),
    NodeConfig("back", "linear", "s1@1", channels=20, bias=False),
    NodeConfig("s1", "synaptic", ["a", "back"], beta=0.9, reset="zero", learn=["alpha"], per_channel=["beta"]),
    NodeConfig("top", "linear", "s1", channels=4),
    NodeConfig("skip", "linear", "flat", channels=4, bias=False),
    NodeConfig("each", "one_to_one", "out@1", channels=4),
    NodeConfig("out", "leaky", ["top", "each", "skip"], learn=["threshold"]),
)
DELAYED = (
    NodeConfig("conv1", "convolution", ["image", "image@2"], channels=3, kernel=3, padding=1),
    NodeConfig("s1", "leaky", ["conv1", "conv1@3"], beta=0.9, learn=["beta"]),
    NodeConfig("pool", "avg_pool", ["s1", "s1@1", "s1@4"]),
    NodeConfig("conv2", "convolution", "pool@2", channels=3, kernel=3, padding=1),
    NodeConfig("s2", "synaptic", ["conv2"], beta=0.9, reset="zero"),
    NodeConfig("flat", "flatten", ["s2", "pool"]),
    NodeConfig("top", "linear", "flat", channels=4),
    NodeConfig("back", "linear", "out@3", channels=4),
    NodeConfig("out", "leaky", ["top", "back"], learn=["threshold"]),
)
RESIDUAL = {"conv_channels": (3, 3, 5), "residual": ("conv2", "conv3"), "hidden": (), "input_shape": (8, 8, 1)}
NETWORKS = {
    "fc, one": ModelConfig(**FLAGS | SIZE, recurrent=("fc1", "fc2:one")),
    "one, fc, synaptic": ModelConfig(**FLAGS | SIZE, neuron="synaptic", recurrent=("fc1:one", "fc2")),
    "mixed neurons, several inputs": ModelConfig(network=MIXED, **SIZE),
    "delays": ModelConfig(network=DELAYED, **SIZE),
    "residual": ModelConfig(**FLAGS | SIZE | RESIDUAL, pool=("max", "avg", "none")),
    "residual, pooled spikes": ModelConfig(**FLAGS | SIZE | RESIDUAL, pool=("sum", "none", "max"), pool_after=True),
}


def drawn(config):
    rng, tensors = np.random.default_rng(0), dict(config.graph.initial)
    for name, shape in expected_shapes(config).items():
        if name not in tensors:
            tensors[name] = rng.normal(0.3, 2, shape) / np.sqrt(np.prod(shape[1:]))
    images = rng.integers(0, 256, (6, *config.input_shape)) / 256
    return tensors, images, rng.integers(0, config.num_classes, 6)


@pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)
def test_gradients_through_time_equal_the_scan_engines(config):
    tensors, images, labels = drawn(config)
    with jax.enable_x64(True):
        graph, parameters = nnx.split(models.from_tensors(config, tensors, jnp.float64))

        def loss(parameters):
            output = scan.forward_with_densities(nnx.merge(graph, parameters), jnp.asarray(images))[0]
            return ce_rate(output, jnp.asarray(labels))

        ours = models.tensors(nnx.merge(graph, jax.jit(jax.grad(loss))(parameters)))
    network = model.sequential(config, torch.float64)
    model.load_tensors(network, tensors)
    for once in (False, True):
        network.zero_grad()
        output = model.output_of(network, model.channels_first(images), config.time_steps, "spikes", once)
        losses.make(TrainConfig(), output.dtype)(output, torch.tensor(labels)).backward()
        theirs = model.gradients(network)
        weights = [node.name for node in config.graph.weighted]
        assert all(np.linalg.norm(theirs[f"{name}.weight"]) > 1e-4 for name in weights)
        for name, gradient in theirs.items():
            assert np.linalg.norm(ours[name] - gradient) <= 1e-10 * np.linalg.norm(gradient), name


@pytest.mark.parametrize("name", ["fc, one", "delays"])
def test_snntorchs_reset_clears_earlier_steps(name):
    config = NETWORKS[name]
    tensors, images, _ = drawn(config)
    network = model.sequential(config, torch.float64)
    model.load_tensors(network, tensors)
    x = model.channels_first(images)
    with torch.no_grad():
        expected = [network(x)[0] for _ in range(4)]
        assert torch.stack(expected).mean() > 0.05
        snntorch.utils.reset(network)
        again, other = copy.deepcopy(network), x[:2]
        for step in expected:
            assert torch.equal(network(x)[0], step)
        for step in expected:  # another batch size
            assert torch.equal(again(other)[0], step[:2])
