"""The companion network in snnTorch has the same membranes and spikes as csnn_jax."""

import jax
import numpy as np
import pytest
import torch

from csnn_jax import CSNN, ModelConfig
from csnn_jax.data import as_floats
from csnn_jax.engine import coverage, event, scan
from csnn_jax.errors import UserError
from csnn_jax.network.model import load_tensors, tensors
from csnn_jax.runs.equality import differ
from csnn_jax.runs.layouts import expected_shapes, with_exponents
from csnn_torch import model as companion
from csnn_torch.compare import bounds

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


CHANGES = {
    f"{reset}, {pool}": {"reset": reset, "pool": pool}
    for reset in ("subtract", "zero", "none")
    for pool in ("max", "avg")
} | {
    "no padding": {"kernel_size": (4, 3), "padding": "valid", "input_shape": (15, 14, 2)},
    "strides": {"stride": (2, 1), "kernel_size": 5, "pool": ("none", "max")},
    "maximum after": {"pool_after": True, "reset": "zero"},
    "average after": {"pool_after": True, "pool": "avg"},
    "sum after": {"pool_after": True, "pool": "sum", "beta": 0.9},
    "sum of 4x4": {"pool": ("sum", "none"), "pool_size": 4},
    "no pool, no bias": {"pool": "none", "bias": False, "padding": ("valid", "same")},
    "beta 0.9": {"beta": 0.9, "pool": "avg", "reset": "zero"},
    "dense": {"conv_channels": (), "beta": 0.7},
    "synaptic": {"neuron": "synaptic", "alpha": 0.3, "beta": (0.5, 0.4, 0.3, 0.6)},
    "synaptic, zero": {"neuron": "synaptic", "reset": "zero", "pool": "avg"},
    "mixed resets": {"reset": ("zero", "none", "subtract", "zero")},
    "2 bits": {"weight_bits": 2},
    "8 bits": {"weight_bits": 8, "pool": "avg"},
}


def loud(config, seed):
    """Weights off their grids, for which every layer fires."""
    random = np.random.default_rng(seed)
    fans = {layer.name: np.prod(layer.kernel_shape[:-1]) for layer in config.layers}
    tensors = {}
    for name, shape in expected_shapes(config).items():
        bound = 5 / np.sqrt(fans[name.split(".")[0]]) if len(shape) > 1 else 0.2
        tensors[name] = random.uniform(-bound, bound, shape).astype(np.float32)
    return with_exponents(config, {name: value for name, value in tensors.items() if not name.endswith(".exponents")})


def check_equal(config, images, frames=False, power=0):
    """Checks that membranes and spikes are equal in all engines that support the stack, and in torch with both layouts.

    Args:
        config: the stack.
        images: bytes [batch, H, W, C], or [time, batch, H, W, C].
        frames: whether they have a time axis.
        power: binary logarithm of a factor for all weights.

    Returns:
        Torch's membranes.
    """
    tensors, model = {name: np.ldexp(value, power) for name, value in loud(config, 1).items()}, CSNN(config)
    load_tensors(model, tensors)
    sides = [jax.jit(lambda x: scan.trace(model, x)[1])(images)]
    if coverage.lacking(model, frames) is None:
        sides.append(jax.jit(lambda x: event.trace(model, x)[1])(images))
    network = companion.sequential(config)
    companion.load_tensors(network, tensors)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = companion.channels_first(as_floats(images, config), layout)
        theirs = companion.trace(network.to(memory_format=layout), x, config.time_steps)
        for spikes in theirs.spikes:
            assert 0.01 < spikes.mean() < 0.95  # neither silent nor saturated
        for ours in sides:
            for mine, their in zip((*ours.membranes, *ours.spikes), (*theirs.membranes, *theirs.spikes), strict=True):
                assert differ(mine, their) == 0
    return theirs.membranes


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_equal_weights_give_equal_membranes_in_every_layer(changes):
    config = ModelConfig(**STACK | changes)
    random = np.random.default_rng(1)
    check_equal(config, random.integers(0, 256, (18, *config.input_shape), np.uint8))


def test_the_largest_weights_only_scale_the_membranes():
    usual, large = (ModelConfig(**STACK, threshold=2.0**power) for power in (0, 28))
    images = np.random.default_rng(1).integers(0, 256, (18, *usual.input_shape), np.uint8)
    for one, other in zip(check_equal(usual, images), check_equal(large, images, power=28), strict=True):
        assert torch.equal(one * 2.0**28, other)


def test_membranes_that_decay_into_subnormals_decide_no_spike():
    """Torch keeps subnormals; XLA flushes them to 0."""
    config = ModelConfig(**STACK | {"beta": 0.1, "bias": False, "time_steps": 60, "scale": 1.0, "input_bits": 4})
    frames = np.random.default_rng(1).integers(0, 16, (60, 16, *config.input_shape), np.uint8)
    frames[15:] = 0
    for layer in check_equal(config, frames, frames=True):
        assert ((layer != 0) & (abs(layer) < 2.0**-126)).any()


@pytest.mark.parametrize("shape", [(4, 28, 28, 1), (5, 4, 28, 28, 1)])
def test_images_have_the_strides_of_a_batch_from_a_data_loader(shape):
    images = np.random.default_rng(0).random(shape, np.float32)
    found = companion.channels_first(images)
    assert found.stride() == torch.empty(found.shape).stride()
    np.testing.assert_array_equal(found.numpy(), np.moveaxis(images, -1, -3))


def test_tally_sums_the_trace():
    config = ModelConfig(**STACK)
    tensors, images = whole_eighths(config, 3)
    network = companion.sequential(config)
    companion.load_tensors(network, tensors)
    x = torch.tensor(images).permute(0, 3, 1, 2)
    spikes = companion.trace(network, x, config.time_steps).spikes
    assert torch.equal(companion.run(network, x.expand(8, *x.shape), 3), spikes[-1])  # which sets the number of steps
    sums = companion.tally(network, x, config.time_steps)
    assert torch.equal(sums.scores, spikes[-1].sum(0))
    assert torch.equal(sums.fired, torch.stack([layer.sum(0).flatten(1).sum(1) for layer in spikes], 1))


@pytest.mark.parametrize("call", [companion.run, companion.watch, companion.trace, companion.tally])
@pytest.mark.parametrize(
    ("change", "steps", "message"),
    [
        (lambda x: x.numpy(), 5, "x is of type ndarray, expected a torch.Tensor"),
        (lambda x: x[0], 5, r"x is \[2, 12, 10\], expected \[batch, C, H, W\] or \[time, batch, C, H, W\]"),
        (lambda x: x.expand(5, *x.shape)[:0], 5, r"x is \[0, 9, 2, 12, 10\], expected"),
        (lambda x: (255 * x).byte(), 5, "x is torch.uint8, expected torch.float32, the network's dtype"),
        (lambda x: x, 0, "time_steps is 0, expected at least 1"),
    ],
)
def test_invalid_input_is_refused(call, change, steps, message):
    config = ModelConfig(**STACK)
    _, images = whole_eighths(config, 5)
    with pytest.raises(ValueError, match=message):
        call(companion.sequential(config), change(torch.tensor(images).permute(0, 3, 1, 2)), steps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("fc1.bias"), "fc1.bias is missing, expected conv1.weight, conv1.bias, conv2"),
        (lambda tensors: tensors.update(fc9=np.zeros(3)), "fc9 isn't a tensor of this network, expected conv1"),
        (
            lambda tensors: tensors.update({"fc1.bias": np.zeros(1)}),  # torch would broadcast it
            r"fc1.bias has shape \[1\], expected \[20\]",
        ),
    ],
)
def test_tensors_of_another_network_are_refused_and_nothing_is_set(change, message):
    config = ModelConfig(**STACK)
    network = companion.sequential(config)
    before = companion.tensors(network)
    tensors, _ = whole_eighths(config, 5)
    change(tensors)
    with pytest.raises(ValueError, match=message):
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
            output = companion.run_for(network, x, config.time_steps, reads, once)
            output.square().mean().backward()
            found[once] = output.detach(), companion.gradients(network)
            assert len(calls) == (1 if once else config.time_steps)
        (theirs, reference), (ours, gradients) = found[False], found[True]
        assert theirs.std() > 0 and torch.equal(ours, theirs)
        assert max(bounds.distances(gradients, reference).values()) <= bounds.GRADIENT["float64"]
    handle.remove()
    frames = torch.stack([x, 0 * x])  # each step has a different image
    assert torch.equal(*(companion.run_for(network, frames, 2, "spikes", once) for once in (False, True)))


def test_a_reset_that_snntorch_lacks_is_refused():
    with pytest.raises(UserError, match=r"^reset clear: snnTorch doesn't support it, expected csnn_jax.train$"):
        companion.sequential(ModelConfig(**STACK | {"neuron": "synaptic", "reset": "clear"}))


def test_run_returns_an_integrators_membranes_as_the_engines_do():
    config = ModelConfig(input_shape=(6, 6, 1), conv_channels=(3,), hidden=(5,), time_steps=4, output="integrator")
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 1), dtype=np.uint8)
    model = CSNN(config, 1)
    network = companion.sequential(config)
    companion.load_tensors(network, tensors(model))
    x = torch.from_numpy(as_floats(images, config)).permute(0, 3, 1, 2)
    membranes = companion.run(network, x, config.time_steps).detach().numpy()
    for engine in (scan, event):
        assert differ(engine.run(model, images)[1], membranes) == 0 and membranes.any()
