"""The step by hand; test_neuron.py compares the frameworks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csnn_jax.initial import simulation
from csnn_jax.network import neuron
from csnn_jax.neurons.leaky import step

BY_HAND = {"subtract": [0.75, 1.125, 0.3125], "zero": [0.75, 1.125, 0.75], "none": [0.75, 1.125, 1.3125]}
"""Membranes under a current of 0.75, with beta 0.5 and threshold 1."""
VALUES = {"beta": np.float32(0.5), "threshold": np.float32(1)}


@pytest.mark.parametrize("reset", BY_HAND)
def test_a_spike_resets_one_step_later(reset):
    state, found = {"mem": np.float32(0)}, []
    for _ in range(3):
        state = step(simulation.NumPy(), VALUES, state, np.float32(0.75), reset)
        found.append(state["mem"])
    assert found == BY_HAND[reset]


@pytest.mark.parametrize("reset, expected", [("subtract", 0.5), ("zero", 0.0), ("none", 0.5)])
def test_no_gradient_flows_through_the_reset(reset, expected):
    def after(membrane):
        return step(neuron.Operations(), VALUES, {"mem": membrane}, jnp.float32(0), reset)["mem"]

    assert jax.grad(after)(jnp.float32(1.5)) == expected
