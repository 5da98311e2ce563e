"""Each operation against its dense twin in JAX, with random shapes, densities and neurons.

Weights and inputs are small whole numbers, which float32 sums exactly in any order, so the spikes must be equal, and
the twin's float64 gradient belongs to the same membranes.
"""

import jax
import jax.numpy as jnp
import numpy as np
import plain_layers as plain
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from refusals import refusing

from csnn_jax import ops
from csnn_jax.engine.library import LANES, padded
from csnn_jax.network import surrogate

pytestmark = pytest.mark.numeric

BATCH, TIME = st.integers(1, 5), st.integers(1, 9)
CHANNELS = st.sampled_from([1, 7, 16, 17, 40, 70])
DENSITY = st.sampled_from([0.0, 0.02, 0.3, 1.0])
SEED = st.integers(0, 2**32 - 1)
UNDERFLOW = 1e-20
"""Products of surrogate derivatives far from the threshold are 0 in float32."""
NEURON = st.fixed_dictionaries(
    {
        "reset": st.sampled_from(["subtract", "zero", "none"]),
        "surrogate": st.sampled_from([*surrogate.BY_NAME.values(), lambda x: 1 / (1 + x * x)]),
        "beta": st.sampled_from([0.0, 0.5, 1.0]),
        "threshold": st.sampled_from([0.5, 1.0, 2.0]),
        "weight_bits": st.sampled_from([0, 2, 10, 12]),  # 10-bit whole numbers are added 31 at a time, 12-bit ones 7
    }
)


def drawn(max_examples=6):
    return settings(max_examples=max_examples, phases=[Phase.generate])  # shrinking would compile for minutes


def compare(event, dense, arguments, seed):
    """Checks that spikes [time, batch, ...] are equal, and so is each argument's gradient of their weighted sum."""
    arguments = [np.asarray(a, np.float32) for a in arguments]
    shape = jax.eval_shape(event, *arguments).shape
    weight = np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)

    def gradient(function, arguments):
        def weighed(arguments):
            spikes = function(*arguments)
            return (spikes * weight).sum(), spikes

        return jax.device_get(jax.jit(jax.grad(weighed, has_aux=True))(arguments))

    own, spikes = gradient(event, arguments)
    with jax.enable_x64(True):
        # Separate betas and thresholds for each neuron give the terms that the scalars' gradients sum.
        double = [np.broadcast_to(a, a.shape or shape[1:]).astype(np.float64) for a in arguments]
        exact, expected = gradient(dense, double)
    np.testing.assert_array_equal(spikes, expected)
    for number, (got, want) in enumerate(zip(own, exact, strict=True)):
        if got.ndim:
            assert np.linalg.norm(got - want) <= 1e-5 * np.linalg.norm(want) + UNDERFLOW, number
        else:
            assert abs(got - want.sum()) <= 1e-5 * abs(want).sum() + UNDERFLOW, number


def draw(generator, shape, density):
    return (generator.random(shape) < density).astype(np.float32)


# --- spikes


def packed(x):
    """The words of x [batch, time, positions, channels], as ops/spikes.py describes them."""
    *outer, positions, channels = x.shape
    full = np.zeros((*outer, positions, padded(channels)))
    full[..., :channels] = x
    return (full.reshape(*outer, -1, LANES) @ (1 << np.arange(LANES))).astype(np.uint16)


@jax.jit
def both_ways(x):
    spikes = ops.pack(x)
    return spikes.arrays.bits, ops.unpack(spikes)


@drawn(max_examples=20)
@given(
    shape=st.tuples(
        st.integers(1, 9), st.integers(1, 5), st.integers(1, 3), st.integers(1, 2), st.sampled_from([1, 7, 16, 33, 70])
    ),
    density=DENSITY,
    seed=SEED,
)
def test_pack_and_unpack(shape, density, seed):
    x = draw(np.random.default_rng(seed), shape, density)
    words, dense = map(np.asarray, both_ways(x))
    np.testing.assert_array_equal(words, packed(x.swapaxes(0, 1).reshape(*shape[1::-1], -1, shape[-1])))
    np.testing.assert_array_equal(dense, x)


@drawn(max_examples=20)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 3), st.sampled_from([1, 2, 4, 5, 9])),
    planes=st.integers(1, 4),
    kind=st.sampled_from([jnp.float32, jnp.uint8]),
    seed=SEED,
)
def test_counts_are_spread_over_planes(shape, planes, kind, seed):
    counts = np.random.default_rng(seed).integers(0, 2**planes, shape)
    spread = np.concatenate([counts >> plane & 1 for plane in range(planes)], axis=-1)
    words = jax.jit(lambda x: ops.pack(x, planes).arrays.bits)(counts.astype(kind))
    np.testing.assert_array_equal(words, packed(spread.swapaxes(0, 1)[:, :, None]))


def test_layers_multiply_counts():
    generator = np.random.default_rng(0)
    counts = jnp.asarray(generator.integers(0, 16, (3, 2, 4, 5, 3)), jnp.uint8)
    kernel = jnp.asarray(generator.integers(-9, 9, (3, 3, 3, 5)), jnp.float32)
    wide = jnp.asarray(generator.integers(-9, 9, (60, 5)), jnp.float32)
    neurons = {"reset": "none", "membranes": True}
    layers = (
        (ops.conv_lif(ops.pack(counts, 4), kernel, **neurons), plain.conv_lif, kernel),
        (ops.linear_lif(ops.pack(counts, 4), wide, **neurons), plain.linear_lif, wide),
    )
    for layer, function, weights in layers:
        x = counts.astype(jnp.float32)
        expected = function(x, weights, jnp.zeros(5), 0.5, 1.0, reset="none", surrogate=surrogate.atan)[1]
        np.testing.assert_array_equal(layer.membranes, expected)


@pytest.mark.parametrize(
    ("number", "planes"), [(0.5, 1), (-1.0, 1), (2.0, 1), (1e-30, 1), (float("nan"), 1), (float("inf"), 4), (16, 4)]
)
def test_other_numbers_are_refused(number, planes):
    x = jnp.zeros((3, 5, 2, 2, 17)).at[2, 4, 1, 1, 16].set(number)
    with refusing((ValueError, jax.errors.JaxRuntimeError), f"0 to {2**planes - 1}"):
        jax.block_until_ready(ops.pack(x, planes).arrays.bits)


def test_negative_zero_and_bytes_are_accepted():
    np.testing.assert_array_equal(ops.pack(-jnp.zeros((1, 1, 3))).arrays.bits, [[[0]]])
    np.testing.assert_array_equal(ops.pack(jnp.array([[[0, 1, 1]]], jnp.uint8)).arrays.bits, [[[6]]])


# --- layers


@drawn()
@given(batch=BATCH, time=TIME, inputs=CHANNELS, outputs=CHANNELS, neuron=NEURON, seed=SEED)
def test_linear_lif_of_a_held_image(batch, time, inputs, outputs, neuron, seed):
    generator, own = np.random.default_rng(seed), neuron | {}
    x = generator.integers(0, 3, (batch, inputs)) / 2
    kernel, bias = generator.integers(-2, 3, (inputs, outputs)), generator.integers(-1, 2, outputs)
    beta, threshold, _ = (own.pop(name) for name in ("beta", "threshold", "weight_bits"))

    def event(x, *parameters):
        return ops.unpack(ops.linear_lif(ops.held(x, time), *parameters, **own).spikes)

    def dense(x, *parameters):
        return plain.linear_lif(jnp.repeat(x[None], time, 0), *parameters, **own)[0]

    compare(event, dense, [x, kernel, bias, beta, threshold], seed)


@drawn()
@given(batch=BATCH, time=TIME, inputs=CHANNELS, outputs=CHANNELS, density=DENSITY, neuron=NEURON, seed=SEED)
def test_linear_lif(batch, time, inputs, outputs, density, neuron, seed):
    generator, own = np.random.default_rng(seed), neuron | {}
    x = draw(generator, (time, batch, inputs), density)
    kernel, bias = generator.integers(-2, 3, (inputs, outputs)), generator.integers(-1, 2, outputs)
    beta, threshold, bits = (own.pop(name) for name in ("beta", "threshold", "weight_bits"))

    def event(x, *parameters):
        return ops.unpack(ops.linear_lif(ops.pack(x), *parameters, weight_bits=bits, **own).spikes)

    def dense(*operands):
        return plain.linear_lif(*operands, **own)[0]

    compare(event, dense, [x, kernel, bias, beta, threshold], seed)


@drawn()
@given(
    batch=BATCH,
    time=TIME,
    inputs=CHANNELS,
    outputs=CHANNELS,
    one=st.booleans(),
    held=st.booleans(),
    density=DENSITY,
    neuron=NEURON,
    seed=SEED,
)
def test_recurrent_lif(batch, time, inputs, outputs, one, held, density, neuron, seed):
    generator, own = np.random.default_rng(seed), neuron | {}
    x = draw(generator, (batch, inputs) if held else (time, batch, inputs), density)
    kernel, bias = generator.integers(-2, 3, (inputs, outputs)), generator.integers(-1, 2, outputs)
    recurrent = generator.integers(-2, 3, (outputs,) if one else (outputs, outputs))
    beta, threshold, bits = (own.pop(name) for name in ("beta", "threshold", "weight_bits"))

    def event(x, *parameters):
        source = ops.held(x, time) if held else ops.pack(x)
        return ops.unpack(ops.recurrent_lif(source, *parameters, weight_bits=bits, **own).spikes)

    def dense(x, *parameters):
        return plain.recurrent_lif(jnp.repeat(x[None], time, 0) if held else x, *parameters, **own)[0]

    compare(event, dense, [x, kernel, recurrent, bias, beta, threshold], seed)


@drawn()
@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 6),
    cells=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    inputs=st.sampled_from([1, 16, 19]),
    outputs=st.sampled_from([3, 32, 50]),
    k=st.integers(1, 7),
    centered=st.booleans(),
    pool=st.sampled_from(["max", "avg", None]),
    held=st.booleans(),
    density=DENSITY,
    neuron=NEURON,
    seed=SEED,
)
def test_conv_lif(batch, time, cells, inputs, outputs, k, centered, pool, held, density, neuron, seed):
    generator, own = np.random.default_rng(seed), neuron | {}
    padding = (k - 1) // 2 if centered else 0
    left = generator.integers(0, 2, 2) if pool else (0, 0)  # rows and columns beyond the last pooling window
    size = tuple(int((2 if pool else 1) * n + k - 1 - 2 * padding + m) for n, m in zip(cells, left, strict=True))
    x = draw(generator, (*(() if held else (time,)), batch, *size, inputs), density)
    kernel, bias = generator.integers(-2, 3, (k, k, inputs, outputs)), generator.integers(-1, 2, outputs)
    beta, threshold, bits = (own.pop(name) for name in ("beta", "threshold", "weight_bits"))
    own |= {"padding": padding, "pool": pool}

    def event(x, *parameters):
        source = ops.held(x, time) if held else ops.pack(x)
        return ops.unpack(ops.conv_lif(source, *parameters, weight_bits=bits, **own).spikes)

    def dense(x, *parameters):
        return plain.conv_lif(jnp.repeat(x[None], time, 0) if held else x, *parameters, **own)[0]

    assert jax.eval_shape(event, x, kernel * 1.0, bias * 1.0, beta, threshold).shape == (time, batch, *cells, outputs)
    compare(event, dense, [x, kernel, bias, beta, threshold], seed)


@drawn()
@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 6),
    channels=st.tuples(CHANNELS, CHANNELS, CHANNELS),
    pool=st.sampled_from(["max", "avg", None]),
    held=st.booleans(),
    density=DENSITY,
    neuron=NEURON,
    seed=SEED,
)
def test_pointwise_currents_are_added_after_the_pool(batch, time, channels, pool, held, density, neuron, seed):
    generator, own, (inputs, more, outputs) = np.random.default_rng(seed), neuron | {}, channels
    rows, columns, lead = 2, 3, (batch,) if held else (time, batch)
    size = (2 * rows, 2 * columns) if pool else (rows, columns)
    x, other = draw(generator, (*lead, *size, inputs), density), draw(generator, (*lead, rows, columns, more), density)
    shapes = (3, 3, inputs, outputs), (more, outputs), outputs
    kernel, point, bias = (generator.integers(-2, 3, shape) for shape in shapes)
    beta, threshold, bits = (own.pop(name) for name in ("beta", "threshold", "weight_bits"))
    own |= {"padding": 1, "pool": pool}

    def event(x, other, kernel, point, *parameters):
        source, second = ((ops.held(one, time) if held else ops.pack(one)) for one in (x, other))
        added = ops.pointwise(second, point, weight_bits=bits)
        return ops.unpack(ops.conv_lif(source, kernel, *parameters, added=added, weight_bits=bits, **own).spikes)

    def dense(x, other, kernel, point, *parameters):
        x, other = ((jnp.repeat(one[None], time, 0) if held else one) for one in (x, other))
        return plain.conv_lif(x, kernel, *parameters, added=other @ point, **own)[0]

    compare(event, dense, [x, other, kernel, point, bias, beta, threshold], seed)


@pytest.mark.parametrize("outputs", [3, 70, 200])
@pytest.mark.parametrize("weight", [127, -127])
def test_the_largest_whole_weights_add_up_exactly(outputs, weight):
    """Up to all inputs spike, and every weight is the largest in 8 bits; int16 holds the sum of 255 of them at most."""
    kernel, counts = jnp.full((1024, outputs), weight, jnp.float32) / 64, np.arange(0, 1025, 128)
    spikes = ops.pack(jnp.asarray(np.arange(1024) < counts[None, :, None], jnp.float32))
    layer = ops.linear_lif(spikes, kernel, reset="none", weight_bits=7, membranes=True)
    expected = np.broadcast_to(counts[:, None] * weight / 64, (len(counts), outputs))
    np.testing.assert_array_equal(layer.membranes[0], expected)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1 / 3])
def test_fractional_weights_are_added_as_floats(wrong):
    kernel = np.full((16, 32), 0.5, np.float32)
    kernel[3, 5] = wrong
    by_bits = [
        ops.linear_lif(
            ops.pack(jnp.ones((1, 1, 16))), jnp.asarray(kernel), reset="none", weight_bits=bits, membranes=True
        ).membranes
        for bits in (0, 7)
    ]
    np.testing.assert_array_equal(*by_bits)
    assert not np.array_equal(by_bits[0][0, 0, 5], by_bits[0][0, 0, 6])


def test_dropped_spikes_are_neither_passed_on_nor_differentiated():
    """Compiled or not."""
    x = ops.pack(jnp.ones((3, 2, 4), jnp.uint8))
    stays = jnp.array([[1, 0, 1], [0, 1, 1]], bool)

    def layer(kernel):
        return ops.linear_lif(x, kernel, stays=stays, membranes=True)

    kernel = jnp.full((4, 3), 0.5)
    spikes = ops.unpack(layer(kernel).spikes)
    np.testing.assert_array_equal(spikes, (layer(kernel).membranes > 1) & stays)
    assert layer(kernel).counts.sum() == 3 / 2 * spikes.sum() > 0
    total = jax.grad(lambda kernel: ops.unpack(layer(kernel).spikes)[:, 0].sum())
    gradient = total(kernel)
    np.testing.assert_array_equal(jax.jit(total)(kernel), gradient)
    assert (gradient != 0).any(0).tolist() == [True, False, True]
    assert (jax.grad(lambda kernel: layer(kernel).density)(kernel) != 0).all()
