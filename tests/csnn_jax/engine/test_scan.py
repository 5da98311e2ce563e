"""The scan engine against a plain Python loop, in float64.

Finite differences can't check the gradient: spikes are steps, so the loss is flat almost everywhere while the surrogate
gradient isn't. Instead, JAX differentiates the plain loop below without any of our derivative rules;
network/test_neuron.py spells out the backward recurrences.
"""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from csnn_jax.config import ModelConfig
from csnn_jax.engine import event, scan
from csnn_jax.network.model import CSNN, tensors

pytestmark = pytest.mark.numeric

# Odd sizes, learned neurons, one beta and threshold per layer; atan at 1 has a wide derivative.
SMALL = ModelConfig(
    input_shape=(9, 8, 2),
    conv_channels=(3, 4),
    hidden=(6,),
    num_classes=4,
    beta=(0.5, 0.75, 0.875, 0.625),
    threshold=(1.0, 0.75, 0.5, 0.875),
    learn_beta=True,
    learn_threshold=True,
    surrogate="atan",
    slope=1.0,
    time_steps=5,
)
STACKS = {
    "default": SMALL,
    "no hidden block": replace(SMALL, hidden=(), beta=0.5, threshold=1.0),
    "no conv block": replace(SMALL, conv_channels=(), hidden=(7, 6), beta=0.5, threshold=1.0),
    "one block": replace(SMALL, conv_channels=(), hidden=(), beta=0.5, threshold=1.0),
}


def plain_fire(x):
    """H(x), for which JAX finds atan's derivative at slope 1: 0.5 / (1 + (pi x / 2)^2)."""
    smooth = jnp.arctan(jnp.pi / 2 * x) / jnp.pi
    return lax.stop_gradient((x > 0).astype(x.dtype)) + (smooth - lax.stop_gradient(smooth))


def plain_current(block, kind, x):
    kernel, bias = block.kernel[...], block.biases
    if kind == "linear":
        return x.reshape(len(x), -1) @ kernel + bias
    y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
    batch, height, width, channels = y.shape
    y = y[:, : height // 2 * 2, : width // 2 * 2].reshape(batch, height // 2, 2, width // 2, 2, channels)
    windows = y.transpose(0, 1, 3, 5, 2, 4).reshape(batch, height // 2, width // 2, channels, 4)
    if block.layer.pool.kind == "avg":
        return windows.mean(-1)
    first = windows.argmax(-1)[..., None]  # the first if several are equal
    return jnp.take_along_axis(windows, first, -1)[..., 0]


def plain_step(block, reset, a, u, current):
    """The synaptic current, if the neuron has one, and the membrane after a step."""
    value = {name: number[...] if isinstance(number, nnx.Param) else number for name, number in block.values.items()}
    beta, theta = jnp.clip(value["beta"], 0, 1), value["threshold"]
    fired = lax.stop_gradient((u > theta).astype(u.dtype))
    if "alpha" in value:
        a = jnp.clip(value["alpha"], 0, 1) * a + current
        u = beta * u + a
        return a, u * (1 - fired) if reset == "zero" else u - fired * theta if reset == "subtract" else u
    kept = (1 - fired) * u if reset == "zero" else u
    return a, beta * kept + current - (fired * theta if reset == "subtract" else 0)


def plain_run(model, x):
    """A Python loop over time and layers in plain jnp: (membranes, spikes), one [time, batch, ...] per layer."""
    config = model.config
    images = x if x.ndim == 5 else [x] * config.time_steps
    u = [jnp.zeros((x.shape[-4], *layer.out_shape)) for layer in config.layers]
    a = list(u)
    membranes, spikes = [], []
    for image in images:
        s = []
        for i, (block, layer) in enumerate(zip(model.blocks, config.layers, strict=True)):
            current = plain_current(block, layer.kind, s[-1] if s else image)
            a[i], u[i] = plain_step(block, config.resets[i], a[i], u[i], current)
            threshold = block.values["threshold"]
            s.append(plain_fire(u[i] - (threshold[...] if isinstance(threshold, nnx.Param) else threshold)))
        membranes.append(list(u))
        spikes.append(s)
    return tuple(map(jnp.stack, zip(*membranes, strict=True))), tuple(map(jnp.stack, zip(*spikes, strict=True)))


def gradients(model, x, output_of, jit=scan.jit):
    """Output spikes, and the gradient of their weighted sum with respect to every parameter and the input."""
    graph, params = nnx.split(model)
    shape = (model.config.time_steps, x.shape[-4], model.config.num_classes)
    weight = jnp.asarray(np.random.default_rng(9).normal(size=shape))

    def loss(params, x):
        spikes = output_of(nnx.merge(graph, params), x)
        return (weight * spikes).sum(), spikes

    by, spikes = jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)
    return spikes, by


def plain_gradients(model, x):
    return gradients(model, x, lambda model, x: plain_run(model, x)[1][-1], jax.jit)


def assert_same_training(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    ours, theirs = jax.tree.leaves(found[1]), jax.tree.leaves(expected[1])
    for one, other in zip(ours, theirs, strict=True):
        assert (np.asarray(other) != 0).any()
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)


def run(model, x):
    return scan.run(model, x)[1]


def over_time(images, steps):
    """Different images at every step: [time, batch, ...]."""
    return jnp.stack([jnp.roll(images, t, axis=2) for t in range(steps)])


@pytest.mark.parametrize("reset, pool", [("subtract", "max"), ("zero", "avg"), ("none", "max")])
def test_spikes_and_gradients_match_the_plain_loop(reset, pool, firing):
    model, images = firing(replace(SMALL, reset=reset, pool=pool))
    assert_same_training(gradients(model, images, run), plain_gradients(model, images))


KINDS = {
    "synaptic": dict(neuron="synaptic", alpha=(0.75, 0.5, 0.25, 0.625), learn_alpha=True),
    "synaptic, reset zero": dict(neuron="synaptic", reset="zero", learn_alpha=True),
    "synaptic, no reset": dict(neuron="synaptic", reset="none", learn_alpha=True),
    "a reset for each layer": dict(reset=("zero", "none", "subtract", "zero")),
    "values per channel": dict(per_channel=("beta", "threshold")),
    "synaptic, values per channel": dict(neuron="synaptic", per_channel=("alpha", "threshold"), learn_alpha=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_neurons_match_the_plain_loop(kind, firing):
    model, images = firing(replace(SMALL, **KINDS[kind]))
    assert_same_training(gradients(model, images, run), plain_gradients(model, images))


@pytest.mark.parametrize("kind", [{}, KINDS["synaptic, reset zero"]], ids=["leaky", "synaptic"])
def test_an_integrator_never_spikes_and_trains_by_its_membranes(kind, firing):
    model, images = firing(replace(SMALL, output="integrator", **kind))
    found = gradients(model, images, lambda model, x: scan.watch(model, x, "membrane")[0])
    assert_same_training(found, gradients(model, images, lambda model, x: plain_run(model, x)[0][-1], jax.jit))
    tally = scan.tally(model, images)
    assert (tally.fired[:, -1] == 0).all() and (tally.fired[:, :-1] > 0).all()
    np.testing.assert_allclose(tally.scores, found[0].sum(0), rtol=1e-12)


def test_fixed_values_per_channel_get_no_gradient(firing):
    model, images = firing(replace(SMALL, per_channel=("beta", "threshold"), learn_beta=False))
    _, (params, _) = gradients(model, images, run)
    found = tensors(nnx.merge(nnx.graphdef(model), params))
    assert found["lif1.beta"].shape == (3,) and (found["lif1.beta"] == 0).all() and found["lif1.threshold"].all()


@pytest.mark.parametrize("stack", ["no hidden block", "one block"])
def test_other_stacks_match_the_plain_loop(stack, firing):
    model, images = firing(STACKS[stack])
    assert_same_training(gradients(model, images, run), plain_gradients(model, images))


@pytest.mark.parametrize("stack", ["default", "no conv block"])
def test_sequences_match_the_plain_loop(stack, firing):
    model, images = firing(STACKS[stack])
    x = over_time(images, 5)
    spikes, by = gradients(model, x, run)
    assert_same_training((spikes, by), plain_gradients(model, x))
    assert (spikes != run(model, images)).any()
    longer = jax.eval_shape(lambda x: (run(model, x), *scan.trace(model, x)[1].spikes), over_time(images, 7))
    assert {spikes.shape[0] for spikes in longer} == {7}


def test_computing_the_first_convolution_once_changes_nothing(firing):
    model, images = firing(SMALL)
    repeated = jnp.repeat(images[None], 5, axis=0)
    spikes, (params, image) = gradients(model, images, run)
    same_spikes, (same_params, every_image) = gradients(model, repeated, run)
    assert_same_training((spikes, (params, image)), (same_spikes, (same_params, every_image.sum(0))))


@pytest.mark.parametrize("stack", ["default", "no conv block"])
def test_trace_tally_fires_and_steps_match_the_plain_loop(stack, firing):
    model, images = firing(STACKS[stack])
    graph, params = nnx.split(model)
    one_step, stepped, outputs = jax.jit(lambda u: model.step(u, images)), model.initial_states(3), []
    for _ in range(SMALL.time_steps):
        stepped, layers = one_step(stepped)
        outputs.append(layers[-1])
    last, trace = scan.trace(model, images)
    membranes, spikes = jax.jit(lambda params, x: plain_run(nnx.merge(graph, params), x))(params, images)
    for found, expected in zip(trace.spikes, spikes, strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(trace.membranes, membranes, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    for found, expected in zip(last, trace.membranes, strict=True):
        np.testing.assert_array_equal(found["mem"], expected[-1])
    np.testing.assert_array_equal(jnp.stack(outputs), trace.spikes[-1])
    for window in (scan.run(model, images)[0], stepped):
        for found, expected in zip(jax.tree.leaves(window), jax.tree.leaves(last), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    tally = scan.tally(model, images)
    np.testing.assert_array_equal(tally.scores, np.sum(spikes[-1], axis=0))
    fired = [np.asarray(s).sum(axis=(0, *range(2, s.ndim))) for s in spikes]
    np.testing.assert_array_equal(tally.fired, np.stack(fired, axis=1))
    for found, layer in zip(scan.fires(model, images), spikes, strict=True):
        channels = np.asarray(layer).any(axis=(0, *range(2, layer.ndim - 1)))
        np.testing.assert_array_equal(found, channels)


@pytest.mark.parametrize("engine", [scan, event])
@pytest.mark.parametrize(
    "x, message",
    [
        (np.zeros((8, 8, 1)), "x is [8, 8, 1], expected [batch, 8, 8, 1] or [time, batch, 8, 8, 1]"),
        (np.zeros((0, 8, 8, 1)), "x is [0, 8, 8, 1], expected"),
        (np.zeros((0, 2, 8, 8, 1)), "x is [0, 2, 8, 8, 1], expected"),
        (np.zeros((2, 8, 8, 1), np.int32), "x is int32, expected uint8, or floats"),
        (np.zeros((2, 8, 8, 1), np.float16), "x is float16, expected float32 or float64"),
        ([[[[0.0]]]], "x is of type list, expected an array"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_function_refuses_invalid_input(engine, x, message):
    model = CSNN(ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(), time_steps=3))
    for function in (engine.run, engine.watch, engine.trace, engine.tally, engine.fires):
        with pytest.raises(ValueError, match=re.escape(message)):
            function(model, x)
        with pytest.raises(ValueError, match="model is of type NoneType, expected a CSNN"):
            function(None, x)
