"""The LIF neuron against traces worked out by hand; engine/test_derivatives.py has its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from refusals import refusing

from csnn_jax.network import neuron, surrogate

pytestmark = pytest.mark.numeric

RESETS = ("subtract", "zero", "none")

# beta 0.5, threshold 1, U[-1] = 0; every number is exact in binary.
CURRENT = [0.75, 0.75, 0.75, 0.75, 0.75, 2.0, 0.0, 0.0]
MEMBRANE = {
    #            spikes at 1      reset: -1                      spikes at 4 and 5, each resets one step later
    "subtract": [0.75, 1.125, 0.3125, 0.90625, 1.203125, 1.6015625, -0.19921875, -0.099609375],
    "zero": [0.75, 1.125, 0.75, 1.125, 0.75, 2.375, 0.0, 0.0],
    "none": [0.75, 1.125, 1.3125, 1.40625, 1.453125, 2.7265625, 1.36328125, 0.681640625],
}
SPIKES = {
    "subtract": [0, 1, 0, 0, 1, 1, 0, 0],
    "zero": [0, 1, 0, 1, 0, 1, 0, 0],
    "none": [0, 1, 1, 1, 1, 1, 1, 0],
}


def window(current, beta, threshold, reset, derivative=surrogate.fast_sigmoid):
    """Membranes and spikes [time, ...] of one layer for currents [time, ...]."""

    def step(membrane, now):
        membrane, spike = neuron.leaky(membrane, now, beta, threshold, reset, derivative)
        return membrane, (membrane, spike)

    return lax.scan(step, jnp.zeros_like(current[0]), current)[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reset", RESETS)
def test_trace_by_hand(reset, dtype, x64):
    membranes, spikes = window(jnp.asarray(CURRENT, dtype), 0.5, 1.0, reset)
    assert membranes.dtype == spikes.dtype == dtype
    np.testing.assert_array_equal(membranes, MEMBRANE[reset])
    np.testing.assert_array_equal(spikes, SPIKES[reset])


@pytest.mark.parametrize("reset", RESETS)
def test_a_membrane_at_the_threshold_neither_spikes_nor_resets(reset):
    membranes, spikes = window(jnp.asarray([1.0, 0.5, 0.5]), 0.5, 1.0, reset)
    np.testing.assert_array_equal(membranes, [1, 1, 1])
    np.testing.assert_array_equal(spikes, [0, 0, 0])


@pytest.mark.parametrize("reset", RESETS)
def test_a_product_is_rounded_before_the_current_is_added(reset, optimised):
    """As in torch; XLA would fuse the two into one multiply-add, which would change a third of these membranes."""
    beta = np.float32(0.9)
    current = np.random.default_rng(0).uniform(0, 0.5, (20, 64)).astype(np.float32)
    membranes, spikes = optimised(lambda c: window(c, beta, 1.0, reset))(current)
    membrane = np.zeros(64, np.float32)
    for now, step_membranes in zip(current, np.asarray(membranes), strict=True):
        fired = (membrane > 1).astype(np.float32)
        if reset == "zero":
            membrane = (1 - fired) * membrane
        membrane = beta * membrane + now - (fired if reset == "subtract" else 0)
        np.testing.assert_array_equal(step_membranes, membrane)
    assert spikes.any()


@pytest.mark.parametrize("beta, used, slope", [(-0.25, 0, 0), (0, 0, 1), (0.5, 0.5, 1), (1, 1, 1), (1.25, 1, 0)])
def test_beta_is_clipped_and_its_gradient_is_torchs(beta, used, slope):
    value, gradient = jax.value_and_grad(neuron.clip)(float(beta))
    assert (value, gradient) == (used, slope)
    membranes, _ = window(jnp.asarray([0.5, 0.0]), float(beta), 1.0, "subtract")
    assert membranes[1] == 0.5 * used


@pytest.mark.parametrize("reset, when_fired", [("subtract", 0.5), ("zero", 0.0), ("none", 0.5)])
def test_no_gradient_through_the_reset(reset, when_fired):
    def next_membrane(membrane):
        return neuron.leaky(membrane, jnp.asarray(0.0), 0.5, 1.0, reset, lambda x: 1000 * jnp.ones_like(x))[0]

    slope = jax.vmap(jax.grad(next_membrane))
    np.testing.assert_array_equal(slope(jnp.asarray([-3.0, 0.5, 1.0, 1.5])), [0.5, 0.5, 0.5, when_fired])


def test_integer_membranes_and_unknown_resets_are_refused():
    zeros = jnp.zeros(2, int)
    with refusing(ValueError, "membrane", "int32", "floats"):
        neuron.leaky(zeros, zeros, 0.5, 1.0, "zero", surrogate.atan)
    with refusing(ValueError, "reset", "half", "subtract", "zero", "none"):
        neuron.leaky(zeros + 0.0, zeros, 0.5, 1.0, "half", surrogate.atan)
