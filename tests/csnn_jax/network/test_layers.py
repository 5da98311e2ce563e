"""Convolution and pooling, forward and backward, against loops over pixels and against autodiff."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from layers import lone_layer

from csnn_jax.config import Pooling
from csnn_jax.network import activity, layers

pytestmark = pytest.mark.numeric


MAX, AVG = Pooling("max"), Pooling("avg")


def plain_conv(x, kernel, stride, padding):
    strides, pads = (stride,) * 2, ((padding,) * 2,) * 2
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def looped_conv(x, kernel, stride, padding):
    """Cross-correlation with zero padding, pixel by pixel."""
    size = kernel.shape[0]
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = ((n - size) // stride + 1 for n in padded.shape[1:3])
    y = np.zeros((len(x), rows, columns, kernel.shape[-1]))
    for b, i, j in np.ndindex(*y.shape[:3]):
        window = padded[b, stride * i : stride * i + size, stride * j : stride * j + size]
        y[b, i, j] = (window[..., None] * kernel).sum((0, 1, 2))
    return y


def looped_pool(x, dy, pool):
    """Max-pool, window by window: (maxima, gradient at the first maximum in row-major order)."""
    y, dx = np.zeros_like(dy), np.zeros_like(x)
    for b, i, j, c in np.ndindex(*dy.shape):
        places = np.ndindex(pool.size, pool.size)
        members = [(b, pool.stride * i + k, pool.stride * j + m, c) for k, m in places]
        first = max(members, key=lambda at: x[at])  # `max` keeps the first if several are equal
        y[b, i, j, c] = x[first]
        dx[first] += dy[b, i, j, c]
    return y, dx


@pytest.mark.parametrize(
    "kernel_size, stride, padding",
    [(1, 1, 0), (3, 1, 1), (5, 1, 2), (3, 1, 0), (2, 1, 0), (4, 2, 0), (3, 2, 1), (5, 3, 2)],
)
def test_conv_equals_the_correlation(kernel_size, stride, padding, x64):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 5, 7, 3)), rng.normal(size=(kernel_size, kernel_size, 3, 4))
    outputs = jax.jit(layers.conv, static_argnums=(2, 3))(x, kernel, stride, padding)
    np.testing.assert_allclose(outputs, looped_conv(x, kernel, stride, padding), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "kernel_size, stride, padding, shape",
    [
        (1, 1, 0, (4, 4, 4, 2)),
        (3, 1, 1, (2, 6, 4, 3)),
        (5, 1, 2, (5, 2, 9, 1)),
        (5, 1, 0, (3, 7, 6, 2)),
        (2, 1, 0, (3, 4, 5, 2)),
        (4, 2, 0, (2, 9, 6, 3)),
        (3, 2, 1, (3, 8, 7, 2)),
        (1, 3, 0, (2, 8, 7, 2)),
    ],
)
def test_conv_gradients_equal_autodiffs(kernel_size, stride, padding, shape, x64):
    rng = np.random.default_rng(1)
    x, kernel = (
        jnp.asarray(rng.integers(0, 2, shape).astype(float)),
        jnp.asarray(rng.normal(size=(kernel_size, kernel_size, shape[-1], 4))),
    )
    plain = partial(plain_conv, stride=stride, padding=padding)
    dy = jnp.asarray(rng.normal(size=jax.eval_shape(plain, x, kernel).shape))

    everything = activity.ActiveChannels(jnp.arange(shape[-1]), jnp.asarray(shape[-1]))
    geometry = layers.Geometry(kernel_size, stride, padding, *shape[1:3])

    @jax.jit
    def all_ways(x, kernel, dy):
        return {
            "autodiff": jax.vjp(plain, x, kernel)[1](dy),
            "as called": jax.vjp(lambda x, kernel: layers.conv(x, kernel, stride, padding), x, kernel)[1](dy),
            "on spikes": jax.vjp(lambda x, kernel: layers.conv(x, kernel, stride, padding, True), x, kernel)[1](dy),
            "on a CPU, all channels": (
                layers._input_gradient_cpu(geometry, dy, kernel),
                layers._weight_gradient_cpu(geometry, x, dy, None),
            ),
            "on a CPU": (
                layers._input_gradient_cpu(geometry, dy, kernel),
                layers._weight_gradient_cpu(geometry, x, dy, everything),
            ),
            "elsewhere": (
                layers._input_gradient_autodiff(geometry, dy, kernel),
                layers._weight_gradient_autodiff(geometry, x, dy, None),
            ),
        }

    by_path = all_ways(x, kernel, dy)
    expected = by_path.pop("autodiff")
    for path, gradients in by_path.items():
        for one, other in zip(gradients, expected, strict=True):
            assert one.dtype == jnp.float64
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12, err_msg=path)


@partial(jax.jit, static_argnums=3)
def pooled(x, bias, dy, pool):
    y, pull = jax.vjp(lambda x, bias: layers.max_pool(x, bias, pool), x, bias)
    return y, *pull(dy)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(2, 3, 3, 1), (1, 4, 4, 2), (1, 5, 3, 3)]),
    pool=st.sampled_from([MAX, Pooling("max", 3, 3), Pooling("max", 3, 2), Pooling("max", 2, 1), Pooling("max", 1, 2)]),
)
def test_max_pool_equals_the_loop_over_windows(seed, shape, pool):
    rng = np.random.default_rng(seed)
    x = rng.integers(-1, 2, shape).astype(np.float32)  # three values: most windows contain ties
    bias = rng.integers(-3, 4, shape[-1]).astype(np.float32)
    size = lone_layer("conv1", "conv", shape[1:], shape[3], pool=pool).shape
    dy = rng.integers(-9, 10, (shape[0], *size)).astype(np.float32)
    y, dx, dbias = pooled(x, bias, dy, pool)
    expected, expected_dx = looped_pool(x + bias, dy, pool)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(dx, expected_dx)
    np.testing.assert_array_equal(dbias, dy.sum((0, 1, 2)))


@pytest.mark.parametrize("pool", [partial(layers.max_pool, pool=MAX), partial(layers.pool, pooling=AVG)])
def test_an_odd_last_row_and_column_are_left_out(pool):
    x = np.random.default_rng(3).uniform(size=(1, 5, 7, 2)).astype(np.float32)
    loud = x.copy()
    loud[:, 4] = loud[:, :, 6] = 100

    @jax.jit
    def both(x):
        y, pull = jax.vjp(lambda x: pool(x, jnp.zeros(2)), x)
        return y, pull(jnp.ones_like(y))[0]

    y, dx = both(loud)
    assert y.shape == (1, 2, 3, 2)
    np.testing.assert_array_equal(y, both(x[:, :4, :6])[0])
    assert (dx[:, 4] == 0).all() and (dx[:, :, 6] == 0).all() and dx.sum() == 12


def test_avg_pool_equals_the_mean_of_x_plus_bias(x64):
    rng = np.random.default_rng(5)
    x, bias, dy = rng.normal(size=(2, 4, 6, 3)), rng.normal(size=3), rng.normal(size=(2, 2, 3, 3))

    @jax.jit
    def all_three(x, bias, dy):
        y, pull = jax.vjp(lambda x, bias: layers.pool(x, bias, AVG), x, bias)
        return y, *pull(dy)

    y, dx, dbias = all_three(x, bias, dy)
    np.testing.assert_allclose(y, x.reshape(2, 2, 2, 3, 2, 3).mean((2, 4)) + bias, rtol=1e-13)
    np.testing.assert_array_equal(dx, (dy / 4).repeat(2, 1).repeat(2, 2))
    np.testing.assert_allclose(dbias, dy.sum((0, 1, 2)), rtol=1e-13)


def test_avg_pool_sums_in_row_major_order():
    x = jnp.asarray([1e8, 1.0, -1e8, 1.0], jnp.float32).reshape(1, 2, 2, 1)  # another order would give 0 or 2
    assert float(layers.pool(x, jnp.zeros(1), AVG)[0, 0, 0, 0]) == 0.25
