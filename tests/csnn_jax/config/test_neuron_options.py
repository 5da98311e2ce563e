"""Parameters that a neuron lacks are refused by flag and value; the others get the neuron's defaults."""

import pytest
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError

NEURONS = [
    ({"neuron": "izhikevich"}, ("neuron izhikevich", "leaky", "synaptic")),
    ({"alpha": 0.5}, ("alpha 0.5", "neuron synaptic", "leaky")),
    ({"learn_alpha": True}, ("learn_alpha", "neuron synaptic", "leaky")),
    ({"per_channel": ("alpha",)}, ("per_channel alpha", "beta", "threshold", "neuron leaky")),
    ({"neuron": "synaptic", "alpha": 1.5}, ("alpha 1.5", "0 to 1")),
    ({"neuron": "synaptic", "alpha": (0.5, 0.5)}, ("alpha 0.5 0.5", "one value, or 4")),
    ({"reset": ("zero", "none")}, ("reset zero none", "one value, or 4")),
    ({"reset": ("zero", "none", "half", "none")}, ("reset zero none half none", "subtract", "zero", "none")),
    ({"output": "silent"}, ("output silent", "spiking", "integrator")),
]


@pytest.mark.parametrize("changes, facts", NEURONS, ids=lambda one: str(one)[:40])
def test_undeclared_and_invalid_parameters_are_refused(changes, facts):
    with refusing(UserError, *facts):
        ModelConfig(**changes)


def test_neurons_have_their_own_defaults_and_equal_resets_are_merged():
    assert ModelConfig().alpha is None and ModelConfig(neuron="synaptic").alpha == 0.5
    assert ModelConfig(reset=["zero"] * 4) == ModelConfig(reset="zero")
    several = ModelConfig(reset=("zero", "none", "zero", "zero"), output="integrator")
    assert several.resets == ("zero", "none", "zero", "none") and several.readout == "membrane"
