"""The companion's input, parameters and gradients; tests/test_matrix.py compares what it computes."""

import numpy as np
import pytest
import torch
from refusals import refusing

from csnn_jax import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.layouts import expected_shapes
from csnn_torch import model as companion
from csnn_torch.compare import results

pytestmark = pytest.mark.numeric

STACK = {"input_shape": (12, 10, 2), "conv_channels": (5, 7), "hidden": (20,), "num_classes": 6, "time_steps": 8}


def whole_eighths(config, seed):
    """Weights, images and membranes that float32 represents exactly, so the order of summation can't matter."""
    random = np.random.default_rng(seed)
    pools = {"max": (-8, 7), "avg": (-6, 8), "none": (-8, 8)}  # a maximum exceeds the mean
    low, high = pools.get(config.pool, (-7, 7))
    tensors = {
        name: (random.integers(low, high, shape) / 8).astype(np.float32)
        for name, shape in expected_shapes(config).items()
    }
    images = (random.integers(0, 3, (9, *config.input_shape)) / 2).astype(np.float32)
    return tensors, images


@pytest.mark.parametrize("shape", [(4, 28, 28, 1), (5, 4, 28, 28, 1)])
def test_images_have_the_strides_of_a_batch_from_a_data_loader(shape):
    images = np.random.default_rng(0).random(shape, np.float32)
    found = companion.channels_first(images)
    assert found.stride() == torch.empty(found.shape).stride()
    np.testing.assert_array_equal(found.numpy(), np.moveaxis(images, -1, -3))


def test_a_sequence_sets_the_number_of_steps():
    config = ModelConfig(**STACK)
    tensors, images = whole_eighths(config, 3)
    network = companion.sequential(config)
    companion.load_tensors(network, tensors)
    x = torch.tensor(images).permute(0, 3, 1, 2)
    found = companion.forward(network, x.expand(8, *x.shape), 3)
    assert found.any() and torch.equal(found, companion.forward(network, x, 8))


@pytest.mark.parametrize(
    "call", [companion.forward, companion.forward_with_densities, companion.trace, companion.count]
)
@pytest.mark.parametrize(
    ("change", "steps", "facts"),
    [
        (lambda x: x.numpy(), 5, ("x", "ndarray", "torch.Tensor")),
        (lambda x: x[0], 5, ("x is [2, 12, 10]", "[batch, C, H, W]", "[time, batch, C, H, W]")),
        (lambda x: x.expand(5, *x.shape)[:0], 5, ("x is [0, 9, 2, 12, 10]",)),
        (lambda x: (255 * x).byte(), 5, ("x", "torch.uint8", "torch.float32")),
        (lambda x: x, 0, ("time_steps", 0, 1)),
    ],
)
def test_invalid_input_is_refused(call, change, steps, facts):
    config = ModelConfig(**STACK)
    _, images = whole_eighths(config, 5)
    with refusing(ValueError, *facts):
        call(companion.sequential(config), change(torch.tensor(images).permute(0, 3, 1, 2)), steps)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda tensors: tensors.pop("fc1.bias"), ("fc1.bias is missing",)),
        (lambda tensors: tensors.update(fc9=np.zeros(3)), ("fc9", "conv1.weight")),
        (
            lambda tensors: tensors.update({"fc1.bias": np.zeros(1)}),  # torch would broadcast it
            ("fc1.bias", [1], [20]),
        ),
    ],
)
def test_tensors_of_another_network_are_refused_and_nothing_is_set(change, facts):
    config = ModelConfig(**STACK)
    network = companion.sequential(config)
    before = companion.tensors(network)
    tensors, _ = whole_eighths(config, 5)
    change(tensors)
    with refusing(ValueError, *facts):
        companion.load_tensors(network, tensors)
    for name, tensor in companion.tensors(network).items():
        np.testing.assert_array_equal(tensor, before[name])


@pytest.mark.parametrize("changes", [{"reset": "zero", "pool": "avg"}, {"conv_channels": (), "beta": 0.9}])
def test_the_first_current_computed_once_gives_the_same_spikes_and_gradients(changes):
    config = ModelConfig(**STACK | changes)
    tensors, images = whole_eighths(config, 1)
    network = companion.sequential(config, torch.float64)
    companion.load_tensors(network, tensors)
    x = torch.tensor(images, dtype=torch.float64).permute(0, 3, 1, 2)
    calls: list[int] = []
    handle = next(module for module in network if hasattr(module, "weight")).register_forward_hook(
        lambda *_: calls.append(1)
    )
    for reads in ("spikes", "membrane"):
        found = {}
        for once in (False, True):
            calls.clear()
            network.zero_grad()
            output = companion.output_of(network, x, config.time_steps, reads, once)
            output.square().mean().backward()
            found[once] = output.detach(), companion.gradients(network)
            assert len(calls) == (1 if once else config.time_steps)
        (theirs, reference), (ours, gradients) = found[False], found[True]
        assert theirs.std() > 0 and torch.equal(ours, theirs)
        assert max(results.distances(gradients, reference).values()) <= results.GRADIENT["float64"]
    handle.remove()
    frames = torch.stack([x, 0 * x])  # each step has a different image
    assert torch.equal(*(companion.output_of(network, frames, 2, "spikes", once) for once in (False, True)))


def test_a_reset_that_snntorch_lacks_is_refused():
    with refusing(UserError, "reset clear", "snnTorch", "csnn_jax.train"):
        companion.sequential(ModelConfig(**STACK | {"neuron": "synaptic", "reset": "clear"}))
