"""Every neuron gives the same bits in all frameworks, and a layer's values are as configured or stored."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from csnn_jax.config import ModelConfig
from csnn_jax.initial import simulation
from csnn_jax.network import neuron
from csnn_jax.network.neuron import clip
from csnn_jax.neurons import NEURONS, PARAMETERS, NeuronFields
from csnn_jax.options import options_of
from csnn_torch.library import Torch

SEVERAL = ModelConfig(hidden=(), beta=(0.1, 0.2, 0.3), threshold=2.0)
LEARNED = ModelConfig(hidden=(), conv_channels=(), learn_beta=True, learn_threshold=True)


def window(kind, ops, array, currents, values, reset):
    """The states [time, ...] by name, for currents [time, ...], with the operations of one framework."""
    state = {name: array(np.zeros_like(currents[0])) for name in kind.states}
    typed, states = {name: array(value) for name, value in values.items()}, []
    for now in currents:
        state = kind.step(ops, typed, state, (array(now),), reset)
        states.append(state)
    return {name: np.stack([np.asarray(one[name]) for one in states]) for name in kind.states}


@pytest.mark.numeric
@pytest.mark.parametrize("kind, reset", [(kind, reset) for kind in NEURONS.values() for reset in kind.resets], ids=str)
@pytest.mark.parametrize("wide", [False, True], ids=["scalars", "per channel"])
def test_all_frameworks_give_the_same_bits(kind, reset, wide):
    rng = np.random.default_rng(0)
    currents = rng.normal(0.3, 0.6, (40, 64, 33)).astype(np.float32)
    values = {name: rng.uniform(0.6, 0.9, 33 if wide else ()).astype(np.float32) for name in kind.parameters}
    expected = window(kind, simulation.NumPy(), np.asarray, currents, values, reset)
    fired = expected["mem"] > values["threshold"]
    assert 0.1 < fired.mean() < 0.9
    for ops, array in ((neuron.Operations(), jnp.asarray), (Torch(), torch.tensor)):
        trace = window(kind, ops, array, currents, values, reset)
        for name, states in expected.items():
            np.testing.assert_array_equal(trace[name], states)


@pytest.mark.parametrize("kind", NEURONS.values(), ids=str)
def test_neurons_declare_what_other_code_relies_on(kind):
    assert "mem" in kind.states and "threshold" in kind.parameters
    assert kind.equations.keys() == {*kind.resets}
    assert all(parameter.help and 0 < parameter.default <= 1 for parameter in kind.parameters.values())


def test_every_parameter_has_its_two_options():
    parameters = [*PARAMETERS, *(f"learn_{name}" for name in PARAMETERS)]
    assert {"neuron", *parameters, "per_channel"} == {one.name for one in options_of(NeuronFields)}


def test_layers_use_the_configured_values_and_files_hold_none():
    neurons = [node.operation for node in SEVERAL.graph.neurons]
    assert [one.values({}) for one in neurons] == [{"beta": beta, "threshold": 2.0} for beta in (0.1, 0.2, 0.3)]
    assert [(one.name, one.initial) for one in neurons] == [("lif1", {}), ("lif2", {}), ("lif3", {})]


@pytest.mark.parametrize("beta, kept", [(-0.25, 0.0), (0.75, 0.75), (1.5, 1.0)])
def test_learned_values_come_from_the_tensors_with_decays_clipped(beta, kept):
    neurons = LEARNED.graph.neurons[0].operation
    assert neurons.initial == {"lif1.beta": 0.5, "lif1.threshold": 1.0}
    tensors = {"lif1.beta": np.float32(beta), "lif1.threshold": np.float64(0.3)}
    assert neurons.values(tensors) == {"beta": kept, "threshold": 0.3}
    assert clip(jnp.float32(beta)) == kept


def test_values_per_channel_are_stored_whether_learned_or_not():
    config = replace(SEVERAL, per_channel=("threshold", "beta"), learn_beta=True)
    first, *_, last = (node.operation for node in config.graph.neurons)
    assert first.per_channel == ("beta", "threshold")  # in the order that the neuron declares
    assert {name: value.shape for name, value in first.initial.items()} == {
        "lif1.beta": (32,),
        "lif1.threshold": (32,),
    }
    values = last.values({"lif3.beta": np.linspace(-1, 2, 10), "lif3.threshold": np.full(10, 3, np.float32)})
    np.testing.assert_array_equal(values["beta"], np.linspace(-1, 2, 10).clip(0, 1))
    np.testing.assert_array_equal(values["threshold"], np.full(10, 3.0))


def test_an_integrator_has_no_reset_and_no_threshold_to_learn():
    config = replace(LEARNED, output="integrator", per_channel=("threshold",), reset="zero")
    (only,) = (node.operation for node in config.graph.neurons)
    assert (only.reset, only.learned, only.per_channel) == ("none", ("beta",), ())
    assert only["threshold"] == 2.0**100 and config.readout == "membrane"
