"""Parameters that a neuron lacks are refused by flag and value; the others get the neuron's defaults."""

import pytest

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError

NEURONS = [
    ({"neuron": "izhikevich"}, "neuron izhikevich: expected one of leaky, synaptic"),
    ({"alpha": 0.5}, "alpha 0.5: expected no value; neuron leaky has no alpha"),
    ({"learn_alpha": True}, "learn_alpha True: expected no value; neuron leaky has no alpha"),
    ({"per_channel": ("alpha",)}, "per_channel alpha: expected any of beta, threshold with neuron leaky"),
    ({"neuron": "synaptic", "alpha": 1.5}, "alpha 1.5: expected a number from 0 to 1"),
    ({"neuron": "synaptic", "alpha": (0.5, 0.5)}, "alpha 0.5 0.5: expected one value, or 4 (one per layer)"),
    ({"reset": ("zero", "none")}, "reset zero none: expected one value, or 4 (one per layer)"),
    (
        {"reset": ("zero", "none", "half", "none")},
        "reset half: expected one of subtract, zero, none with neuron leaky",
    ),
    ({"output": "silent"}, "output silent: expected one of spiking, integrator"),
]


@pytest.mark.parametrize("changes, message", NEURONS, ids=lambda one: str(one)[:40])
def test_undeclared_and_invalid_parameters_are_refused(changes, message):
    with pytest.raises(UserError) as caught:
        ModelConfig(**changes)
    assert str(caught.value) == message


def test_neurons_have_their_own_defaults_and_equal_resets_are_merged():
    assert ModelConfig().alpha is None and ModelConfig(neuron="synaptic").alpha == 0.5
    assert ModelConfig(reset=["zero"] * 4) == ModelConfig(reset="zero")
    several = ModelConfig(reset=("zero", "none", "zero", "zero"), output="integrator")
    assert several.resets == ("zero", "none", "zero", "none") and several.readout == "membrane"
