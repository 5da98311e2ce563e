"""Spikes as bits, against dense arrays in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from refusals import refusing

from csnn_jax.engine import bits

WEIGHTS = 1 << np.arange(bits.LANES)


def draw(seed, shape, density):
    return (np.random.default_rng(seed).random(shape) < density).astype(np.float32)


def packed(x):
    """The words of x [batch, time, positions, channels], as bits.py describes them."""
    *outer, positions, channels = x.shape
    full = np.zeros((*outer, positions, bits.padded(channels)))
    full[..., :channels] = x
    return (full.reshape(*outer, -1, bits.LANES) @ WEIGHTS).astype(np.uint16)


@jax.jit
def all_of(x):
    spikes = bits.pack(x)
    return spikes.bits, bits.unpack(spikes), bits.count(spikes)


@settings(max_examples=20, phases=[Phase.generate])
@given(
    shape=st.tuples(
        st.integers(1, 5), st.integers(1, 9), st.integers(1, 6), st.sampled_from([1, 7, 15, 16, 17, 31, 33, 40, 70])
    ),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_pack_unpack_count(shape, density, seed):
    x = draw(seed, shape, density)
    words, dense, counts = map(np.asarray, all_of(x.swapaxes(0, 1)))
    np.testing.assert_array_equal(words, packed(x))
    dense = dense.reshape(*shape[:3], -1)
    np.testing.assert_array_equal(dense[..., : shape[3]], x)
    assert not dense[..., shape[3] :].any()
    np.testing.assert_array_equal(counts, x.sum((1, 2, 3)))


@settings(max_examples=20, phases=[Phase.generate])
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.sampled_from([1, 2, 4, 5, 9])),
    planes=st.integers(1, 4),
    kind=st.sampled_from([jnp.float32, jnp.uint8]),
    seed=st.integers(0, 2**32 - 1),
)
def test_counts_are_spread_over_planes(shape, planes, kind, seed):
    counts = np.random.default_rng(seed).integers(0, 2**planes, shape)
    spread = np.concatenate([counts >> plane & 1 for plane in range(planes)], axis=-1)
    words = jax.jit(lambda x: bits.pack(x, planes).bits)(counts.swapaxes(0, 1).astype(kind))
    np.testing.assert_array_equal(words, packed(spread))


def test_planes_of_weights_give_the_same_as_counts():
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 16, (2, 3, 1, 5))
    kernel = jnp.asarray(generator.integers(-9, 9, (5, 16)), jnp.float32)
    dense = bits.unpack(bits.pack(jnp.asarray(counts.swapaxes(0, 1), jnp.float32), 4))[..., :20]
    np.testing.assert_array_equal(dense @ bits.with_planes(kernel, 4), counts[:, :, 0] @ np.asarray(kernel))


@pytest.mark.parametrize(
    ("number", "planes"), [(0.5, 1), (-1.0, 1), (2.0, 1), (1e-30, 1), (float("nan"), 1), (float("inf"), 4), (16, 4)]
)
def test_other_numbers_are_refused(number, planes):
    x = jnp.zeros((3, 5, 4, 17)).at[2, 4, 3, 16].set(number)
    with refusing((ValueError, jax.errors.JaxRuntimeError), f"0 to {2**planes - 1}"):
        jax.block_until_ready(bits.pack(x, planes).bits)


def test_negative_zero_and_integers_are_accepted():
    np.testing.assert_array_equal(bits.pack(-jnp.zeros((1, 1, 1, 3))).bits, [[[0]]])
    np.testing.assert_array_equal(bits.pack(jnp.array([[[[0, 1, 1]]]], jnp.uint8)).bits, [[[6]]])


def test_the_gradient_of_spikes_goes_to_the_port():
    spikes = bits.pack(jnp.asarray(draw(0, (3, 2, 1, 5), 0.5)))._replace(port=jnp.zeros((2, 3, 16)))
    weight = jnp.arange(2 * 3 * 16.0).reshape(2, 3, 16)
    port = jax.grad(lambda port: (bits.unpack(spikes._replace(port=port)) * weight).sum())(spikes.port)
    np.testing.assert_array_equal(port, weight)


def test_kernels_are_given_derivatives_that_they_lack():
    values = bits.NeuronValues(jnp.float32(0), jnp.float32(0.5))
    own = bits.Rule("none", lambda x: 3 * x, 0.0, keep=True)
    assert own.attributes == {"reset": "none", "surrogate": "given", "slope": 0.0}
    np.testing.assert_array_equal(own.given(jnp.array([1.0, 2.0]), values), [1.5, 4.5])
    named = bits.Rule("zero", "atan", 2.0, keep=True)
    assert named.attributes == {"reset": "zero", "surrogate": "atan", "slope": 2.0}
    assert named.given(jnp.ones(3), values) is None
