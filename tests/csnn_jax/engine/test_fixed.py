"""Sums in a fixed order, against float64. test_repeatable.py checks that their bits are the same on every machine."""

from functools import partial

import jax
import numpy as np
import pytest

from csnn_jax.engine import fixed

pytestmark = pytest.mark.numeric


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(1, 100, shape).astype(np.float32)


@pytest.mark.parametrize("shape, axis", [((), None), ((7,), None), ((3, 50_000), None), ((5, 4, 3), 1), ((6, 9), -1)])
def test_sums_equal_float64_rounded_once(shape, axis):
    x = numbers(*shape)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def squared(x):
        sums = fixed.add_up(x, axis)
        return (sums**2).sum(), sums

    (total, sums), gradient = squared(x)
    exact = x.sum(axis, dtype=np.float64)
    assert np.array_equal(sums, exact.astype(np.float32))
    assert np.isclose(total, (exact**2).sum(), rtol=1e-6)
    wanted = 2 * (exact if axis is None else np.expand_dims(exact, axis))
    assert gradient.shape == shape and np.allclose(gradient, np.broadcast_to(wanted, shape), rtol=1e-6)


@pytest.mark.parametrize("rows, inner, columns", [(1, 1, 1), (61, 300, 70), (130, 5, 64)])
def test_products_are_close_to_float64(rows, inner, columns):
    left, right = numbers(rows, inner), numbers(inner, columns)
    exact, most = left.astype(np.float64) @ right.astype(np.float64), np.abs(left) @ np.abs(right)
    product = jax.jit(fixed.multiply)(left, right)
    assert np.all(np.abs(product - exact) <= 1e-6 * most)
    assert np.array_equal(product, fixed.multiply(left, right.T, transposed=True))
