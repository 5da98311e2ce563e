"""Every operation of the event engine against its dense twin in JAX, with random shapes, densities and neurons.

Weights and inputs are small whole numbers, which float32 sums exactly in any order, so the spikes must be equal, and
the twin's float64 gradient belongs to the same membranes.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from layers import lone_layer

from csnn_jax.config import Pooling
from csnn_jax.engine import bits
from csnn_jax.engine import event_ops as ops
from csnn_jax.network import layers, surrogate
from csnn_jax.network.neuron import leaky
from csnn_jax.neurons.leaky import NEURON

pytestmark = pytest.mark.numeric

BATCH, TIME = st.integers(1, 5), st.integers(1, 9)
CHANNELS = st.sampled_from([1, 7, 16, 17, 40, 70])
DENSITY = st.sampled_from([0.0, 0.02, 0.3, 1.0])
SEED = st.integers(0, 2**32 - 1)
NEURON = st.fixed_dictionaries(
    {
        "reset": st.sampled_from(NEURON.resets),
        "surrogate": st.sampled_from(list(surrogate.BY_NAME)),
        "beta": st.sampled_from([0.0, 0.5, 1.0]),
        "threshold": st.sampled_from([0.5, 1.0, 2.0]),
        "weight_bits": st.sampled_from([0, 2, 10, 12]),  # 10-bit whole numbers are added 31 at a time, 12-bit ones 7
    }
)
drawn = partial(settings, max_examples=6, phases=[Phase.generate])  # shrinking would compile for minutes


def derivative_of(neuron):
    function = surrogate.BY_NAME[neuron["surrogate"]]
    return function, float((function.__defaults__ or (0.0,))[0])


def rule_of(neuron) -> bits.Rule:
    return bits.Rule(
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
    return jnp.pad(x, [(0, 0)] * (x.ndim - count) + [(0, bits.padded(n) - n) for n in x.shape[-count:]])


@drawn()
@given(batch=BATCH, time=TIME, channels=CHANNELS, neuron=NEURON, seed=SEED)
def test_constant_lif(batch, time, channels, neuron, seed):
    generator = np.random.default_rng(seed)
    current = generator.integers(-3, 5, (batch, channels)) / 2

    def event(current, beta, threshold):
        values, widths = bits.NeuronValues(beta, threshold), (channels, bits.padded(channels))
        window = ops.constant_lif(pad_last(current), values, rule_of(neuron), time, widths)
        return bits.unpack(window.spikes)[..., :channels]

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
        spikes = bits.pack(jnp.asarray(x)[:, :, None].swapaxes(0, 1))._replace(port=pad_last(port))
        values = bits.NeuronValues(beta, threshold)
        window = ops.linear_lif(spikes, pad_last(kernel, 2), pad_last(bias), values, rule_of(neuron), outputs)
        return bits.unpack(window.spikes)[..., :outputs]

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
    padded=st.booleans(),
    pool=st.sampled_from([Pooling("max"), Pooling("avg"), None]),
    density=DENSITY,
    neuron=NEURON,
    seed=SEED,
)
def test_conv_lif(batch, time, cells, inputs, outputs, k, padded, pool, density, neuron, seed):
    generator = np.random.default_rng(seed)
    padding = (k - 1) // 2 if padded else 0
    left = generator.integers(0, 2, 2) if pool else (0, 0)  # rows and columns beyond the last pooling window
    size = tuple(
        int((pool.size if pool else 1) * n + k - 1 - 2 * padding + m) for n, m in zip(cells, left, strict=True)
    )
    stage = lone_layer("conv2", "conv", (*size, inputs), outputs, k, 1, padding, pool)
    assert stage.shape == (*cells, outputs)
    x = draw(generator, (batch, time, *size, inputs), density)
    kernel, bias = generator.integers(-2, 3, (k, k, inputs, outputs)), generator.integers(-1, 2, outputs)

    def event(port, kernel, bias, beta, threshold):
        spikes = bits.pack(jnp.asarray(x).reshape(batch, time, -1, inputs).swapaxes(0, 1))
        spikes = spikes._replace(port=pad_last(port).reshape(batch, time, -1))
        values = bits.NeuronValues(beta, threshold)
        window = ops.conv_lif(spikes, pad_last(kernel, 2), pad_last(bias), values, rule_of(neuron), stage)
        found = bits.unpack(window.spikes).reshape(batch, time, cells[0] * cells[1], -1)
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
    spikes = bits.pack(jnp.asarray(x, jnp.float32).reshape(len(counts), 1, 1, -1).swapaxes(0, 1))
    values = bits.NeuronValues(jnp.float32(0), jnp.float32(1))
    rule = bits.Rule("none", "atan", 2.0, keep=True, weight_bits=7)
    window = ops.linear_lif(spikes, pad_last(kernel), pad_last(np.zeros(outputs)), values, rule, outputs)
    expected = np.broadcast_to(counts[:, None] * weight / 64, (len(counts), outputs))
    np.testing.assert_array_equal(window.membranes[:, 0, :outputs], expected)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1 / 3])
def test_fractional_weights_are_added_as_floats(wrong):
    kernel = np.full((16, 32), 0.5, np.float32)
    kernel[3, 5] = wrong
    spikes = bits.pack(jnp.ones((1, 1, 1, 16)))
    values = bits.NeuronValues(jnp.float32(0), jnp.float32(1))
    window = [
        ops.linear_lif(
            spikes, jnp.asarray(kernel), jnp.zeros(32), values, bits.Rule("none", "atan", 2.0, True, weight_bits=n), 32
        )
        for n in (0, 7)
    ]
    np.testing.assert_array_equal(window[0].membranes, window[1].membranes)
    assert not np.array_equal(window[0].membranes[0, 0, 5], window[0].membranes[0, 0, 6])
