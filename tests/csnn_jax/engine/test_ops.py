"""Every operation of the event engine against its dense twin in JAX, with random shapes, densities and neurons.

Weights and inputs are small whole numbers, which float32 sums exactly in any order, so the spikes must be equal, and
the twin's float64 gradient belongs to the same membranes.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from layers import lone_layer
from refusals import refusing

from csnn_jax.config import ModelConfig, Pooling
from csnn_jax.engine import ops
from csnn_jax.engine.library import padded
from csnn_jax.engine.stages import stages
from csnn_jax.network import layers, surrogate
from csnn_jax.network.library import Jax
from csnn_jax.network.model import CSNN
from csnn_jax.network.neuron import leaky
from csnn_jax.neurons.leaky import NEURON as LEAKY
from csnn_jax.window import constants

pytestmark = pytest.mark.numeric

BATCH, TIME = st.integers(1, 5), st.integers(1, 9)
CHANNELS = st.sampled_from([1, 7, 16, 17, 40, 70])
DENSITY = st.sampled_from([0.0, 0.02, 0.3, 1.0])
SEED = st.integers(0, 2**32 - 1)
NEURON = st.fixed_dictionaries(
    {
        "reset": st.sampled_from(LEAKY.resets),
        "surrogate": st.sampled_from(list(surrogate.BY_NAME)),
        "beta": st.sampled_from([0.0, 0.5, 1.0]),
        "threshold": st.sampled_from([0.5, 1.0, 2.0]),
        "weight_bits": st.sampled_from([0, 2, 10, 12]),  # 10-bit whole numbers are added 31 at a time, 12-bit ones 7
    }
)


def drawn(max_examples=6):
    return settings(max_examples=max_examples, phases=[Phase.generate])  # shrinking would compile for minutes


def derivative_of(neuron):
    function = surrogate.BY_NAME[neuron["surrogate"]]
    return function, float((function.__defaults__ or (0.0,))[0])


def rule_of(neuron) -> ops.Rule:
    return ops.Rule(
        neuron["reset"], neuron["surrogate"], derivative_of(neuron)[1], keep=True, weight_bits=neuron["weight_bits"]
    )


def dense_window(currents, beta, threshold, neuron):
    """The spikes that these currents cause, both [batch, time, ...]."""

    def step(membrane, current):
        return leaky(membrane, current, beta, threshold, neuron["reset"], derivative_of(neuron)[0])

    start = jnp.zeros_like(currents[:, 0])
    return jax.lax.scan(step, start, currents.swapaxes(0, 1))[1].swapaxes(0, 1)


def compare(event, dense, arguments, seed):
    """Checks that spikes [batch, time, neurons] are equal, and so is each argument's gradient of their weighted sum."""
    arguments = [np.asarray(a, np.float32) for a in arguments]
    batch, time, neurons = jax.eval_shape(event, *arguments).shape
    weight = np.random.default_rng(seed).integers(-3, 4, (batch, time, neurons)).astype(np.float32)

    def gradient(function, arguments):
        def weighed(arguments):
            spikes = function(*arguments)
            return (spikes * weight).sum(), spikes

        return jax.device_get(jax.jit(jax.grad(weighed, has_aux=True))(arguments))

    own, spikes = gradient(event, arguments)
    with jax.enable_x64(True):
        # Separate betas and thresholds for each neuron give the terms that the scalars' gradients sum.
        double = [np.broadcast_to(a, a.shape or (batch, neurons)).astype(np.float64) for a in arguments]
        exact, expected = gradient(dense, double)
    np.testing.assert_array_equal(spikes, expected)
    for number, (got, want) in enumerate(zip(own, exact, strict=True)):
        if got.ndim:
            assert np.linalg.norm(got - want) <= 1e-5 * np.linalg.norm(want), number
        else:
            assert abs(got - want.sum()) <= 1e-5 * abs(want).sum(), number


def draw(generator, shape, density):
    return (generator.random(shape) < density).astype(np.float32)


def pad_last(x, count=1):
    """Rounds the last `count` axes up to multiples of 16."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - count) + [(0, padded(n) - n) for n in x.shape[-count:]])


WEIGHTS = 1 << np.arange(ops.LANES)


def packed(x):
    """The words of x [batch, time, positions, channels], as ops.py describes them."""
    *outer, positions, channels = x.shape
    full = np.zeros((*outer, positions, padded(channels)))
    full[..., :channels] = x
    return (full.reshape(*outer, -1, ops.LANES) @ WEIGHTS).astype(np.uint16)


@jax.jit
def all_of(x):
    spikes = ops.pack(x)
    return spikes.bits, ops.unpack(spikes), ops.count(spikes.bits)


@drawn(max_examples=20)
@given(
    shape=st.tuples(
        st.integers(1, 5), st.integers(1, 9), st.integers(1, 6), st.sampled_from([1, 7, 15, 16, 17, 31, 33, 40, 70])
    ),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_pack_unpack_count(shape, density, seed):
    x = draw(np.random.default_rng(seed), shape, density)
    words, dense, counts = map(np.asarray, all_of(x.swapaxes(0, 1)))
    np.testing.assert_array_equal(words, packed(x))
    dense = dense.reshape(*shape[:3], -1)
    np.testing.assert_array_equal(dense[..., : shape[3]], x)
    assert not dense[..., shape[3] :].any()
    np.testing.assert_array_equal(counts, x.sum((1, 2, 3)))


@drawn(max_examples=20)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.sampled_from([1, 2, 4, 5, 9])),
    planes=st.integers(1, 4),
    kind=st.sampled_from([jnp.float32, jnp.uint8]),
    seed=st.integers(0, 2**32 - 1),
)
def test_counts_are_spread_over_planes(shape, planes, kind, seed):
    counts = np.random.default_rng(seed).integers(0, 2**planes, shape)
    spread = np.concatenate([counts >> plane & 1 for plane in range(planes)], axis=-1)
    words = jax.jit(lambda x: ops.pack(x, planes).bits)(counts.swapaxes(0, 1).astype(kind))
    np.testing.assert_array_equal(words, packed(spread))


def test_planes_of_weights_give_the_same_as_counts():
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 16, (2, 3, 1, 5))
    kernel = jnp.asarray(generator.integers(-9, 9, (5, 16)), jnp.float32)
    dense = ops.unpack(ops.pack(jnp.asarray(counts.swapaxes(0, 1), jnp.float32), 4))[..., :20]
    np.testing.assert_array_equal(dense @ ops.with_planes(kernel, 4), counts[:, :, 0] @ np.asarray(kernel))


@pytest.mark.parametrize(
    ("number", "planes"), [(0.5, 1), (-1.0, 1), (2.0, 1), (1e-30, 1), (float("nan"), 1), (float("inf"), 4), (16, 4)]
)
def test_other_numbers_are_refused(number, planes):
    x = jnp.zeros((3, 5, 4, 17)).at[2, 4, 3, 16].set(number)
    with refusing((ValueError, jax.errors.JaxRuntimeError), f"0 to {2**planes - 1}"):
        jax.block_until_ready(ops.pack(x, planes).bits)


def test_negative_zero_and_integers_are_accepted():
    np.testing.assert_array_equal(ops.pack(-jnp.zeros((1, 1, 1, 3))).bits, [[[0]]])
    np.testing.assert_array_equal(ops.pack(jnp.array([[[[0, 1, 1]]]], jnp.uint8)).bits, [[[6]]])


def test_the_gradient_of_spikes_goes_to_the_port():
    spikes = ops.pack(jnp.asarray(draw(np.random.default_rng(0), (3, 2, 1, 5), 0.5)))._replace(
        port=jnp.zeros((2, 3, 16))
    )
    weight = jnp.arange(2 * 3 * 16.0).reshape(2, 3, 16)
    port = jax.grad(lambda port: (ops.unpack(spikes._replace(port=port)) * weight).sum())(spikes.port)
    np.testing.assert_array_equal(port, weight)


def test_kernels_are_given_derivatives_that_they_lack():
    values, membranes = ops.NeuronValues(jnp.float32(0), jnp.float32(0.5)), jnp.array([[[1.0, 2.0]]])
    custom = ops.Rule("none", lambda x: 3 * x, 0.0, keep=True).backward(membranes, values)
    assert (custom["reset"], custom["surrogate"], custom["slope"]) == ("none", "given", 0.0)
    np.testing.assert_array_equal(custom["given"], [[[1.5, 4.5]]])
    named = ops.Rule("zero", "atan", 2.0, keep=True)
    assert {"surrogate": "atan", "slope": 2.0, "given": None}.items() <= named.backward(membranes, values).items()
    masked = values._replace(mask=jnp.array([[2]], jnp.uint16))
    given = named.backward(jnp.ones((1, 1, 16)), masked)["given"]
    assert np.flatnonzero(given).tolist() == [1]


@drawn()
@given(batch=BATCH, time=TIME, channels=CHANNELS, neuron=NEURON, seed=SEED)
def test_constant_lif(batch, time, channels, neuron, seed):
    generator = np.random.default_rng(seed)
    current = generator.integers(-3, 5, (batch, channels)) / 2

    def event(current, beta, threshold):
        values, widths = ops.NeuronValues(beta, threshold), (channels, padded(channels))
        window = ops.constant_lif(pad_last(current), values, rule_of(neuron), time, widths)
        return ops.unpack(window.spikes)[..., :channels]

    def dense(current, beta, threshold):
        return dense_window(jnp.repeat(current[:, None], time, 1), beta, threshold, neuron)

    compare(event, dense, [current, neuron["beta"], neuron["threshold"]], seed)


@drawn()
@given(batch=BATCH, time=TIME, inputs=CHANNELS, outputs=CHANNELS, density=DENSITY, neuron=NEURON, seed=SEED)
def test_linear_lif(batch, time, inputs, outputs, density, neuron, seed):
    generator = np.random.default_rng(seed)
    x = draw(generator, (batch, time, inputs), density)
    kernel, bias = generator.integers(-2, 3, (inputs, outputs)), generator.integers(-1, 2, outputs)

    def event(port, kernel, bias, beta, threshold):
        spikes = ops.pack(jnp.asarray(x)[:, :, None].swapaxes(0, 1))._replace(port=pad_last(port))
        values = ops.NeuronValues(beta, threshold)
        window = ops.linear_lif(spikes, pad_last(kernel, 2), pad_last(bias), values, rule_of(neuron), outputs)
        return ops.unpack(window.spikes)[..., :outputs]

    def dense(x, kernel, bias, beta, threshold):
        return dense_window(x @ kernel + bias, beta, threshold, neuron)

    compare(event, dense, [x, kernel, bias, neuron["beta"], neuron["threshold"]], seed)


@drawn()
@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 6),
    cells=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    inputs=st.sampled_from([1, 16, 19]),
    outputs=st.sampled_from([3, 32, 50]),
    k=st.integers(1, 7),
    centered=st.booleans(),
    pool=st.sampled_from([Pooling("max"), Pooling("avg"), None]),
    density=DENSITY,
    neuron=NEURON,
    seed=SEED,
)
def test_conv_lif(batch, time, cells, inputs, outputs, k, centered, pool, density, neuron, seed):
    generator = np.random.default_rng(seed)
    padding = (k - 1) // 2 if centered else 0
    left = generator.integers(0, 2, 2) if pool else (0, 0)  # rows and columns beyond the last pooling window
    size = tuple(
        int((pool.size if pool else 1) * n + k - 1 - 2 * padding + m) for n, m in zip(cells, left, strict=True)
    )
    stage = lone_layer("conv2", "conv", (*size, inputs), outputs, k, 1, padding, pool)
    assert stage.shape == (*cells, outputs)
    x = draw(generator, (batch, time, *size, inputs), density)
    kernel, bias = generator.integers(-2, 3, (k, k, inputs, outputs)), generator.integers(-1, 2, outputs)

    def event(port, kernel, bias, beta, threshold):
        spikes = ops.pack(jnp.asarray(x).reshape(batch, time, -1, inputs).swapaxes(0, 1))
        spikes = spikes._replace(port=pad_last(port).reshape(batch, time, -1))
        values = ops.NeuronValues(beta, threshold)
        window = ops.conv_lif(
            spikes, pad_last(kernel, 2), pad_last(bias), values, rule_of(neuron), stage.conv_shape, outputs
        )
        found = ops.unpack(window.spikes).reshape(batch, time, cells[0] * cells[1], -1)
        return found[..., :outputs].reshape(batch, time, -1)

    def dense(x, kernel, bias, beta, threshold):
        current = layers.conv(x.reshape(-1, *size, inputs), kernel, 1, padding)
        if pool is None:
            current += bias
        else:
            current = layers.pool(current, bias, pool)
        return dense_window(current.reshape(batch, time, -1), beta, threshold, neuron)

    compare(event, dense, [x, kernel, bias, neuron["beta"], neuron["threshold"]], seed)


@pytest.mark.parametrize("outputs", [3, 70, 200])
@pytest.mark.parametrize("weight", [127, -127])
def test_the_largest_whole_weights_add_up_exactly(outputs, weight):
    """Up to all inputs spike, and every weight is the largest in 8 bits; int16 holds the sum of 255 of them at most."""
    kernel, counts = np.full((1024, outputs), weight, np.float32) / 64, np.arange(0, 1025, 128)
    x = np.arange(1024) < counts[:, None, None]
    spikes = ops.pack(jnp.asarray(x, jnp.float32).reshape(len(counts), 1, 1, -1).swapaxes(0, 1))
    values = ops.NeuronValues(jnp.float32(0), jnp.float32(1))
    rule = ops.Rule("none", "atan", 2.0, keep=True, weight_bits=7)
    window = ops.linear_lif(spikes, pad_last(kernel), pad_last(np.zeros(outputs)), values, rule, outputs)
    expected = np.broadcast_to(counts[:, None] * weight / 64, (len(counts), outputs))
    np.testing.assert_array_equal(window.membranes[:, 0, :outputs], expected)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1 / 3])
def test_fractional_weights_are_added_as_floats(wrong):
    kernel = np.full((16, 32), 0.5, np.float32)
    kernel[3, 5] = wrong
    spikes = ops.pack(jnp.ones((1, 1, 1, 16)))
    values = ops.NeuronValues(jnp.float32(0), jnp.float32(1))
    window = [
        ops.linear_lif(
            spikes, jnp.asarray(kernel), jnp.zeros(32), values, ops.Rule("none", "atan", 2.0, True, weight_bits=n), 32
        )
        for n in (0, 7)
    ]
    np.testing.assert_array_equal(window[0].membranes, window[1].membranes)
    assert not np.array_equal(window[0].membranes[0, 0, 5], window[0].membranes[0, 0, 6])


STACKS = {
    "max pool": {"conv_channels": (16,), "pool": "max"},
    "avg pool": {"conv_channels": (16,), "pool": "avg", "kernel_size": 5},
    "no pool": {"conv_channels": (16,), "pool": "none", "padding": "valid"},
    "linear": {"conv_channels": (), "hidden": (16,)},
}


@pytest.mark.parametrize("stack", STACKS)
def test_the_first_current_and_its_gradients_match_the_block(stack, x64):
    config = ModelConfig(input_shape=(9, 8, 3), **({"hidden": ()} | STACKS[stack]))
    own = jax.jit(lambda: CSNN(config, dtype=jnp.float64))().nodes[0]
    (stage, *_), rng = stages(config.graph), np.random.default_rng(0)
    image, weight = rng.integers(0, 256, (5, 9, 8, 3)) / 256, rng.normal(size=(5, *stage.shape))
    rounded = stage.weights.grid.round(np.asarray(own.kernel[...], np.float32), np.asarray(own.biases, np.float32))

    def ours(image, kernel, bias):
        return (ops.image_current(image, kernel, bias, stage.conv_shape).reshape(weight.shape) * weight).sum()

    def current(image, kernel, bias):
        replaced = nnx.merge(*nnx.split(own))
        replaced.kernel, replaced.bias = nnx.Param(kernel), nnx.Param(bias)
        library = Jax(config.graph, [replaced])
        known = constants(config.graph, library, library.parameters, image)
        return known[config.graph.source(config.graph.neurons[0]).name]

    def its(image, kernel, bias):
        return (current(image, kernel, bias) * weight).sum()

    single = [jnp.asarray(value, jnp.float32) for value in (image, *rounded)]
    double = [jnp.asarray(value, jnp.float64) for value in (image, *rounded)]
    exactly = jax.jit(current)(*double).reshape(5, -1)
    assert np.array_equal(jax.jit(ops.image_current, static_argnums=3)(*single, stage.conv_shape), exactly)
    found, exact = (jax.jit(jax.grad(of, (0, 1, 2)))(*values) for of, values in ((ours, single), (its, double)))
    for one, other in zip(found, exact, strict=True):
        assert np.allclose(one, other, rtol=1e-5, atol=1e-5)
