"""A network of snnTorch modules runs on rounded weights and trains the unrounded ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import on_grid
from csnn_torch import model as companion

STACK = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(12,), num_classes=3, time_steps=5)


def made(config, rounded=False, dtype=torch.float32):
    """A network with random weights; if `rounded`, they are already on their grids and the network has none."""
    torch.manual_seed(0)
    network = companion.sequential(config, dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    if rounded:
        companion.load_tensors(network, on_grid(config, companion.tensors(network)))
        network.grids = ()
    return network


def stepped(network, x, steps=5):
    """Output spikes and membranes from calling the network once per step."""
    companion.reset(network)
    return [torch.stack(found) for found in zip(*(network(x) for _ in range(steps)), strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("config", [STACK, replace(STACK, bias=False, conv_channels=())])
def test_gradients_reach_the_unrounded_weights_from_the_rounded_ones(config, dtype):
    x = torch.randint(0, 256, (16, 1, 8, 8)).to(dtype) / 256
    network, plain = made(config, dtype=dtype), made(config, True, dtype)
    before = companion.tensors(network)
    assert any((before[name] != tensor).any() for name, tensor in companion.tensors(plain).items())
    for reads, place in (("spikes", 0), ("membrane", 1)):
        found = []
        for one in (network, plain):
            one.zero_grad()
            output = companion.output_of(one, x, 5, reads)
            output.square().mean().backward()
            found.append((output.detach(), companion.gradients(one)))
            steps = stepped(one, x)[place]
            assert torch.equal(steps, output)
            one.zero_grad()
            steps.square().mean().backward()
            for name, gradient in companion.gradients(one).items():
                np.testing.assert_allclose(gradient, found[-1][1][name], rtol=1e-4, atol=1e-7)
        (ours, gradients), (theirs, expected) = found
        assert ours.std() > 0 and torch.equal(ours, theirs)
        for name, gradient in gradients.items():
            assert gradient.any() and gradient.tobytes() == expected[name].tobytes()
    for name, tensor in companion.tensors(network).items():
        assert tensor.tobytes() == before[name].tobytes()


def test_without_grids_weights_are_not_rounded():
    x = torch.randint(0, 256, (16, 1, 8, 8)) / 256
    network = made(STACK)
    rounded = stepped(network, x)[1]
    network.grids = ()
    given = stepped(network, x)[1]
    plain = torch.nn.Sequential(*network)
    assert not torch.equal(rounded, given) and torch.equal(given, stepped(plain, x)[1])
    assert torch.equal(companion.output_of(plain, x, 5, "membrane"), given)


def test_a_weight_that_is_not_finite_is_detected():
    network = made(STACK)
    with torch.no_grad():
        network[0].weight[1, 0, 0, 0] = torch.inf
    x = torch.ones(1, 1, 8, 8)
    assert companion.trace(network, x, 2).membranes["lif1"][:, :, 1].isnan().any()


def test_tf32_is_off():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    companion.sequential(STACK)
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
