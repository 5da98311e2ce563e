"""The step against snnTorch's `Synaptic`: float32 bits and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import snntorch as snn
import torch
from jax import lax

from csnn_jax.config import ModelConfig
from csnn_jax.network import neuron, surrogate
from csnn_jax.neurons.synaptic import NEURON
from csnn_torch.surrogates import spike_function

IN_SNNTORCH = ["subtract", "zero", "none"]


def in_jax(currents, values, reset):
    def now(state, current):
        return (after := neuron.fire(NEURON, values, state, (current,), reset, surrogate.atan))[0], after

    zeros = jnp.zeros_like(currents[0])
    return lax.scan(now, {"syn": zeros, "mem": zeros}, currents)[1]


def in_snntorch(currents, values, reset, **options):
    layer = snn.Synaptic(
        **options,
        **{name: torch.tensor(value, dtype=currents.dtype) for name, value in values.items()},
        **{f"learn_{name}": True for name in values},
        reset_mechanism=reset,
        spike_grad=spike_function(ModelConfig(surrogate="atan"), currents.dtype),  # snnTorch's is float32
    )
    syn, mem = layer.reset_mem()
    steps = []
    for current in currents:
        spikes, syn, mem = layer(current, syn, mem)
        steps.append((syn, mem, spikes))
    return layer, [torch.stack(one) for one in zip(*steps, strict=True)]


@pytest.mark.numeric
def test_clear_is_a_reset_to_zero_in_the_step_of_the_spike():
    currents = np.random.default_rng(3).normal(0.2, 0.5, (50, 40, 30)).astype(np.float32)
    values = {"alpha": np.float32(0.9), "beta": np.float32(0.7), "threshold": np.float32(0.8)}
    states, spikes = jax.jit(lambda currents: in_jax(currents, values, "clear"))(currents)
    _, (syn, mem, fired) = in_snntorch(torch.tensor(currents), values, "zero", reset_delay=False)
    np.testing.assert_array_equal(spikes, fired.detach().numpy())
    np.testing.assert_array_equal(states["syn"], syn.detach().numpy())
    np.testing.assert_array_equal(np.where(spikes, 0, states["mem"]), mem.detach().numpy())


@pytest.mark.parametrize("reset", IN_SNNTORCH)
def test_gradients_match_snntorch(reset, x64):
    rng = np.random.default_rng(2)
    currents, weights = rng.normal(0.2, 0.5, (20, 30)), rng.normal(size=(20, 30))
    values = {"alpha": 0.9, "beta": 0.7, "threshold": 0.8}

    def cost(currents, values):
        return (in_jax(currents, values, reset)[1] * weights).sum()

    by_current, by_value = jax.grad(cost, (0, 1))(jnp.asarray(currents), jax.tree.map(jnp.asarray, values))
    theirs = torch.tensor(currents, requires_grad=True)
    layer, (_, _, spikes) = in_snntorch(theirs, values, reset)
    (spikes * torch.tensor(weights)).sum().backward()
    assert spikes.detach().numpy().mean() > 0.1
    np.testing.assert_allclose(by_current, theirs.grad.numpy(), rtol=1e-10, atol=1e-12)
    for name, gradient in by_value.items():
        np.testing.assert_allclose(gradient, getattr(layer, name).grad.numpy(), rtol=1e-10, atol=1e-12)
