"""Exponential and logarithm against NumPy's in extended precision."""

import jax
import numpy as np
import pytest

from csnn_jax.network.rounding import exp, log


def units(actual, expected):
    """The largest error in units of the last place."""
    spacing = np.spacing(np.maximum(abs(expected).astype(actual.dtype), np.finfo(actual.dtype).smallest_normal))
    return float(np.max(abs(actual - expected) / spacing))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_errors_are_below_the_units_promised(dtype):
    with jax.enable_x64(True):
        below = np.concatenate([-np.logspace(-9, np.log10(87), 10_000), [-0.0, 0]]).astype(dtype)
        above = np.concatenate([1 + np.logspace(-9, 4, 10_000), [1]]).astype(dtype)
        for function, exact, x, most in ((exp, np.exp, below, 2), (log, np.log, above, 3)):
            values = np.asarray(jax.jit(function)(x))
            assert values.dtype == dtype and units(values, exact(x.astype(np.longdouble))) < most


def test_special_values():
    assert exp(np.float32([0, -np.inf, -1000])).tolist() == [1, 0, 0]
    assert log(np.float32([1])) == 0
    assert np.isnan(exp(np.float32([np.nan]))) and np.isnan(log(np.float32([np.nan])))
