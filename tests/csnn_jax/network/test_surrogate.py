"""Every surrogate derivative against its formula, in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refusing

from csnn_jax.config import SLOPELESS, ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.network import surrogate
from csnn_jax.network.model import derivative_of

pytestmark = pytest.mark.numeric

GRID = np.concatenate([np.linspace(-10, 10, 4001), [-1e30, -1e-30, -0.0, 1e-30, 1e30]])  # holds 0 and 1 exactly

# The formulas of design section 2 (snnTorch's code): name -> (default slope, function of x and slope).
FORMULAS = {
    "fast_sigmoid": (25.0, lambda x, k: 1 / (k * np.abs(x) + 1) ** 2),
    "atan": (2.0, lambda x, k: (k / 2) / (1 + (np.pi / 2 * k * x) ** 2)),
    # k e^(-kx) / (e^(-kx) + 1)^2 = k / (4 cosh^2(kx / 2)); far from 0, both the limit and this form are 0
    "sigmoid": (25.0, lambda x, k: k / 4 / np.cosh(np.clip(k * x / 2, -350, 350)) ** 2),
    "straight_through": (None, lambda x, k: np.ones_like(x)),
    "triangular": (1.0, lambda x, k: np.where(x < 0, k, -k)),
    "heaviside": (None, lambda x, k: np.where(x > 0, 1.0, 0.0)),
    "spike_rate_escape": (25.0, lambda x, k: k * np.exp(-np.abs(x - 1))),
    "sparse_fast_sigmoid": (25.0, lambda x, k: np.where(x > 1, 1 / (k * np.abs(x) + 1) ** 2, 0.0)),
    "leaky_spike": (0.1, lambda x, k: np.where(x > 0, 1.0, k)),
}
WITH_SLOPE = [name for name, (slope, _) in FORMULAS.items() if slope is not None]


def gradient(x: jax.Array, derivative: surrogate.Derivative) -> jax.Array:
    """dS/dx at every x, through the spike function."""
    return jax.grad(lambda x: jnp.sum(surrogate.spike(x, derivative)))(x)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("name", FORMULAS)
def test_gradient_of_a_spike_is_the_formula(name, dtype, tolerance, x64):
    slope, formula = FORMULAS[name]
    x = GRID.astype(dtype)
    derivatives = gradient(jnp.asarray(x), derivative_of(ModelConfig(surrogate=name)))
    assert derivatives.dtype == dtype
    np.testing.assert_allclose(derivatives, formula(x.astype(np.float64), slope), rtol=tolerance, atol=1e-36)


@pytest.mark.parametrize("name", WITH_SLOPE)
def test_the_configured_slope_is_used(name, x64):
    slope, formula = FORMULAS[name]
    assert slope != 3.5
    derivatives = gradient(jnp.asarray(GRID), derivative_of(ModelConfig(surrogate=name, slope=3.5)))
    np.testing.assert_allclose(derivatives, formula(GRID, 3.5), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("name", sorted(set(FORMULAS) - set(WITH_SLOPE)))
def test_slope_for_a_surrogate_without_one_is_refused(name):
    with refusing(UserError, "slope 3.5", name):
        ModelConfig(surrogate=name, slope=3.5)


def test_all_surrogates_are_covered():
    assert set(FORMULAS) == set(surrogate.BY_NAME)
    assert {*SLOPELESS} == set(FORMULAS) - set(WITH_SLOPE)


def test_derivatives_have_a_name_and_a_slope():
    assert surrogate.named(surrogate.atan) == ("atan", 2.0) and surrogate.named(jnp.tanh) == (None, 0.0)
    assert surrogate.named(derivative_of(ModelConfig(surrogate="atan", slope=3.5))) == ("atan", 3.5)
    assert surrogate.named(surrogate.heaviside) == ("heaviside", 0.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forward_is_the_strict_step_function(dtype, x64):
    x = jnp.asarray([-jnp.inf, -1, -1e-30, -0.0, 0.0, 1e-30, 1, jnp.inf], dtype)
    spikes = jnp.asarray(surrogate.spike(x, surrogate.fast_sigmoid))
    assert spikes.dtype == dtype
    np.testing.assert_array_equal(spikes, [0, 0, 0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("returned", [None, "1", (None,), np.ones(2)], ids=str)
def test_a_derivative_that_returns_no_array_like_x_is_refused(returned):
    facts = [2, 3] if isinstance(returned, np.ndarray) else [type(returned).__name__, 3]
    with refusing(ValueError, "derivative", *[[size] if isinstance(size, int) else size for size in facts]):
        jax.grad(lambda x: surrogate.spike(x, lambda x: returned).sum())(jnp.ones(3))


@pytest.mark.parametrize("forward", [jax.jacfwd, jax.hessian, lambda f: lambda x: jax.jvp(f, (x,), (x,))])
def test_forward_mode_is_refused(forward):
    with refusing(TypeError, "jax.jvp", "jax.hessian", "jax.grad"):
        forward(lambda x: surrogate.spike(x, surrogate.atan).sum())(jnp.ones(3))
