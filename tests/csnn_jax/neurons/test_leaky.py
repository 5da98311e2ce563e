"""The step by hand, and with the operations of every framework."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from csnn_jax.network import neuron
from csnn_jax.neurons import leaky
from csnn_jax.neurons.operations import Numpy
from export import reference

pytestmark = pytest.mark.numeric

RESETS = ("subtract", "zero", "none")
BY_HAND = {"subtract": [0.75, 1.125, 0.3125], "zero": [0.75, 1.125, 0.75], "none": [0.75, 1.125, 1.3125]}
"""Membranes under a current of 0.75, with beta 0.5 and threshold 1."""


def window(ops, array, current, beta, threshold, reset):
    """Membranes [time, ...] for currents [time, ...], by one framework."""
    membrane, found = array(np.zeros_like(current[0])), []
    for now in current:
        membrane = leaky.step(ops, array(beta), array(threshold), reset, membrane, array(now))
        found.append(np.asarray(membrane))
    return np.stack(found)


@pytest.mark.parametrize("reset", RESETS)
def test_a_spike_resets_one_step_later(reset):
    current = np.full(3, 0.75, np.float32)
    np.testing.assert_array_equal(window(Numpy(), np.float32, current, 0.5, 1.0, reset), BY_HAND[reset])


@pytest.mark.parametrize("reset", RESETS)
def test_all_frameworks_have_the_same_bits(reset):
    current = np.random.default_rng(0).normal(0.4, 0.8, (40, 64, 33)).astype(np.float32)
    beta, threshold = np.float32(0.9), np.float32(0.7)
    membranes = window(Numpy(), np.asarray, current, beta, threshold, reset)
    fired = membranes > threshold
    assert 0.1 < fired.mean() < 0.9
    in_jax = window(neuron.Operations(), jnp.asarray, current, beta, threshold, reset)
    in_torch = window(reference.Operations(), torch.tensor, current, beta, threshold, reset)
    np.testing.assert_array_equal(in_jax, membranes)
    np.testing.assert_array_equal(in_torch, membranes)


@pytest.mark.parametrize("reset, expected", [("subtract", 0.5), ("zero", 0.0), ("none", 0.5)])
def test_no_gradient_flows_through_the_reset(reset, expected):
    def after(membrane):
        return leaky.step(neuron.Operations(), jnp.float32(0.5), jnp.float32(1), reset, membrane, jnp.float32(0))

    assert jax.grad(after)(jnp.float32(1.5)) == expected
