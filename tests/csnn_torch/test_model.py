"""The companion's input, parameters, gradients and rounded weights; tests/test_matrix.py compares its results."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from refusals import refusing

from csnn_jax import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import on_grid
from csnn_torch import model as companion
from csnn_torch.compare import results

pytestmark = pytest.mark.numeric

STACK = ModelConfig((12, 10, 2), conv_channels=(5, 7), hidden=(20,), num_classes=6, time_steps=8)
SMALL = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(12,), num_classes=3, time_steps=5)


def images(config, dtype=torch.float32, count=16):
    height, width, channels = config.input_shape
    return torch.randint(0, 256, (count, channels, height, width)).to(dtype) / 256


def made(config, rounded=False, dtype=torch.float32):
    """A network with random weights; if `rounded`, they are already on their grids and the network has none."""
    torch.manual_seed(0)
    network = companion.sequential(config, dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    if rounded:
        companion.load_tensors(network, on_grid(config, companion.tensors(network)))
        network.rounds = False
    return network


def stepped(network, x, steps=5):
    """Output spikes and membranes from calling the network once per step."""
    companion.reset(network)
    return [torch.stack(sequence) for sequence in zip(*(network(x) for _ in range(steps)), strict=True)]


@pytest.mark.parametrize("shape", [(4, 28, 28, 1), (5, 4, 28, 28, 1)])
def test_images_have_the_strides_of_a_batch_from_a_data_loader(shape):
    images = np.random.default_rng(0).random(shape, np.float32)
    batch = companion.channels_first(images)
    assert batch.stride() == torch.empty(batch.shape).stride()
    np.testing.assert_array_equal(batch.numpy(), np.moveaxis(images, -1, -3))


def test_a_sequence_sets_the_number_of_steps():
    network = made(STACK)
    x = images(STACK)
    spikes = companion.forward(network, x.expand(8, *x.shape), 3)
    assert spikes.any() and torch.equal(spikes, companion.forward(network, x, 8))
    assert torch.equal(spikes[:1], companion.forward(network, x, 1))


@pytest.mark.parametrize(
    "call", [companion.forward, companion.forward_with_densities, companion.trace, companion.count]
)
@pytest.mark.parametrize(
    ("change", "steps", "facts"),
    [
        (lambda x: x.numpy(), 5, ("x", "ndarray", "torch.Tensor")),
        (lambda x: x[0], 5, ("x is [2, 12, 10]", "[batch, C, H, W]", "[time, batch, C, H, W]")),
        (lambda x: x.expand(5, *x.shape)[:0], 5, ("x is [0, 16, 2, 12, 10]",)),
        (lambda x: (255 * x).byte(), 5, ("x", "torch.uint8", "torch.float32")),
        (lambda x: x, 0, ("time_steps", 0, 1)),
    ],
)
def test_invalid_input_is_refused(call, change, steps, facts):
    with refusing(ValueError, *facts):
        call(companion.sequential(STACK), change(images(STACK)), steps)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"fc1.bias": None}, ("fc1.bias is missing",)),
        ({"fc9": np.zeros(3)}, ("fc9", "conv1.weight")),
        ({"fc1.bias": np.zeros(1)}, ("fc1.bias", [1], [20])),  # torch would broadcast it
    ],
)
def test_tensors_of_another_network_are_refused_and_nothing_is_set(changes, facts):
    network, tensors = companion.sequential(STACK), companion.tensors(made(STACK)) | changes
    before = companion.tensors(network)
    with refusing(ValueError, *facts):
        companion.load_tensors(network, {name: tensor for name, tensor in tensors.items() if tensor is not None})
    for name, tensor in companion.tensors(network).items():
        np.testing.assert_array_equal(tensor, before[name])


@pytest.mark.parametrize("changes", [{"reset": "zero", "pool": "avg"}, {"conv_channels": (), "beta": 0.9}])
def test_the_first_current_computed_once_gives_the_same_spikes_and_gradients(changes):
    config = replace(STACK, **changes)
    network, x = made(config, dtype=torch.float64), images(config, torch.float64)
    calls: list[int] = []
    first = network.conv1 if config.conv_channels else network.fc1
    first.register_forward_hook(lambda *_: calls.append(1))
    for reads in ("spikes", "membrane"):
        outputs_and_gradients = {}
        for once in (False, True):
            calls.clear()
            network.zero_grad()
            output = companion.output_of(network, x, config.time_steps, reads, once)
            output.square().mean().backward()
            outputs_and_gradients[once] = output.detach(), companion.gradients(network)
            assert len(calls) == (1 if once else config.time_steps)
        (theirs, reference), (ours, gradients) = outputs_and_gradients[False], outputs_and_gradients[True]
        assert theirs.std() > 0 and torch.equal(ours, theirs)
        assert max(results.distances(gradients, reference).values()) <= results.GRADIENT["float64"]
    frames = torch.stack([x, 0 * x])  # each step has a different image
    assert torch.equal(*(companion.output_of(network, frames, 2, "spikes", once) for once in (False, True)))


def test_a_reset_that_snntorch_lacks_is_refused():
    with refusing(UserError, "reset clear", "snnTorch", "csnn_jax.train"):
        companion.sequential(replace(STACK, neuron="synaptic", reset="clear"))


def test_a_new_network_has_chosen_grids_and_traces_leave_no_hooks():
    network = companion.sequential(config := replace(SMALL, weight_bits=3))
    companion.trace(network, images(config), 2)
    tensors = companion.tensors(network)
    chosen = layouts.with_bits(config, tensors, 3)[1]
    assert all(np.array_equal(tensors[name], chosen[name]) for name in ("conv1.exponents", "fc2.exponents"))
    assert not any(neuron._forward_hooks for neuron in companion.neurons(network))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("config", [SMALL, replace(SMALL, bias=False, conv_channels=())])
def test_gradients_reach_the_unrounded_weights_from_the_rounded_ones(config, dtype):
    x, network, plain = images(config, dtype), made(config, dtype=dtype), made(config, True, dtype)
    before = companion.tensors(network)
    assert any((before[name] != tensor).any() for name, tensor in companion.tensors(plain).items())
    for reads, place in (("spikes", 0), ("membrane", 1)):
        outputs_and_gradients = []
        for one in (network, plain):
            one.zero_grad()
            output = companion.output_of(one, x, 5, reads)
            output.square().mean().backward()
            outputs_and_gradients.append((output.detach(), companion.gradients(one)))
            steps = stepped(one, x)[place]
            assert torch.equal(steps, output)
            one.zero_grad()
            steps.square().mean().backward()
            for name, gradient in companion.gradients(one).items():
                np.testing.assert_allclose(gradient, outputs_and_gradients[-1][1][name], rtol=1e-4, atol=1e-7)
        (ours, gradients), (theirs, expected) = outputs_and_gradients
        assert ours.std() > 0 and torch.equal(ours, theirs)
        for name, gradient in gradients.items():
            assert gradient.any() and gradient.tobytes() == expected[name].tobytes()
    for name, tensor in companion.tensors(network).items():
        assert tensor.tobytes() == before[name].tobytes()


def test_without_grids_weights_are_not_rounded():
    x, network = images(SMALL), made(SMALL)
    rounded = stepped(network, x)[1]
    network.rounds = False
    given = stepped(network, x)[1]
    plain = torch.nn.Sequential(*network)
    assert not torch.equal(rounded, given) and torch.equal(given, stepped(plain, x)[1])
    assert torch.equal(companion.output_of(plain, x, 5, "membrane"), given)


def test_a_weight_that_is_not_finite_is_detected():
    network = made(SMALL)
    with torch.no_grad():
        network[0].weight[1, 0, 0, 0] = torch.inf
    x = torch.ones(1, 1, 8, 8)
    assert companion.trace(network, x, 2).membranes["lif1"][:, :, 1].isnan().any()


def test_tf32_is_off():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    companion.sequential(SMALL)
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
