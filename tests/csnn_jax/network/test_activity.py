"""Products that skip silent channels, against products that don't, for every number of active channels."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csnn_jax.network import activity, layers


def spikes(shape, active, seed=0):
    """Random spikes [.., channels] in exactly `active` random channels."""
    rng = np.random.default_rng(seed)
    fired = np.zeros(shape)
    on = np.sort(rng.permutation(shape[-1])[:active])
    fired[..., on] = rng.random((*shape[:-1], active)) < 0.3
    fired[(0,) * (len(shape) - 1)][on] = 1
    return fired, on


def whole_numbers(shape):
    """Weights that float32 sums exactly in any order."""
    return jnp.asarray(np.random.default_rng(4).integers(-3, 4, shape), jnp.float32)


@settings(max_examples=30)
@given(data=st.data(), channels=st.sampled_from([32, 33, 70]))
def test_active_channels_come_first_and_in_order(data, channels):
    active = data.draw(st.integers(0, channels))
    x, on = spikes((2, 3, channels), active)
    order, number = map(np.asarray, activity.find(jnp.asarray(x), 32))
    assert number == active
    np.testing.assert_array_equal(order[:active], on)
    np.testing.assert_array_equal(order[active:], np.setdiff1d(np.arange(channels), on))


def test_few_channels_are_not_searched():
    assert activity.find(jnp.zeros((2, 31)), 32) is None
    assert activity.find(jnp.zeros((2, 32)), 31) is None
    assert activity.among(lambda on, x: x[:, on], None, jnp.ones((2, 31))).shape == (2, 31)


@partial(jax.jit, static_argnums=(0, 1))
def both(product, plain, x, kernel, dy):
    """(result, gradients) of a product that skips silent channels, and of one that doesn't."""
    return [(y, *pull(dy)) for y, pull in (jax.vjp(f, x, kernel) for f in (product, plain))]


CONV = partial(layers.conv, stride=1, padding=1, binary=True), partial(layers._convolve, stride=1, padding=1)
LINEAR = layers.linear, layers.matmul


@pytest.mark.parametrize(
    "functions, shape, kernel, out", [(CONV, (2, 5, 4, 33), (3, 3), (2, 5, 4)), (LINEAR, (6, 46), (), (6,))]
)
def test_products_and_gradients_match_those_over_all_channels(functions, shape, kernel, out, x64):
    rng = np.random.default_rng(1)
    channels = shape[-1]
    kernel, dy = jnp.asarray(rng.normal(size=(*kernel, channels, 32))), jnp.asarray(rng.normal(size=(*out, 32)))
    for active in range(channels + 1):
        x, on = spikes(shape, active)
        sparse, expected = both(*functions, jnp.asarray(x), kernel, dy)
        for one, other in zip(sparse, expected, strict=True):
            assert one.dtype == jnp.float64
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
        silent = np.setdiff1d(np.arange(channels), on)
        _, dx, dkernel = map(np.asarray, sparse)
        assert (dkernel[..., silent, :] == 0).all()
        assert (dx[..., silent] != 0).any() == (len(silent) > 0)  # silent neurons learn through the surrogate


def test_vmap_computes_one_branch_that_fits_all():
    x = jnp.asarray(np.stack([spikes((2, 6, 6, 32), active, active)[0] for active in (0, 9, 20)]), jnp.float32)
    kernel = whole_numbers((3, 3, 32, 32))

    def total(x, kernel):
        return (layers.conv(x, kernel, 1, 1, True) ** 2).sum()

    gradient = jax.jit(jax.grad(total, (0, 1)))
    mapped = jax.jit(jax.vmap(gradient, (0, None)))
    for at_once, one_by_one in zip(
        mapped(x, kernel), zip(*[gradient(one, kernel) for one in x], strict=True), strict=True
    ):
        np.testing.assert_array_equal(at_once, jnp.stack(one_by_one))
    # With a different index in each mapped item, a switch would compute all branches and select among the results.
    switches = [
        str(jax.make_jaxpr(f)(*args)).count("cond[") for f, args in ((gradient, (x[0], kernel)), (mapped, (x, kernel)))
    ]
    assert switches[0] == switches[1] > 0
