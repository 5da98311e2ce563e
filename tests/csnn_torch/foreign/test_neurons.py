"""Imported neurons of every kind have the states of the user's loop at every step, or one line says why they don't."""

import jax
import numpy as np
import pytest
import snntorch as snn
import torch
from foreign_networks import Loop
from refusals import refusing

from csnn_jax.engine import scan
from csnn_jax.errors import UserError
from csnn_jax.network.model import from_tensors
from csnn_jax.runs.equality import differ
from csnn_jax.runs.layouts import expected_shapes, on_grid
from csnn_torch import model as companion
from csnn_torch.state_dict import convert

pytestmark = pytest.mark.numeric

STEPS = 9


def leaky(reset="subtract", beta=0.8, **settings):
    return snn.Leaky(beta=beta, reset_mechanism=reset, **settings)


def synaptic(reset="subtract", alpha=0.6, beta=0.7, **settings):
    return snn.Synaptic(alpha=alpha, beta=beta, reset_mechanism=reset, **settings)


def spread(low, high, *shape):
    return torch.linspace(low, high, int(np.prod(shape))).reshape(shape)


NETWORKS = {
    "synaptic": (synaptic(), synaptic(alpha=0.3, learn_alpha=True), synaptic(beta=1.25)),
    "synaptic, zero": (synaptic("zero", threshold=0.5), synaptic("zero"), synaptic("zero")),
    "mixed resets": (leaky("zero"), leaky("none", beta=0.3, threshold=1.5), leaky("subtract")),
    "synaptic, mixed resets": (synaptic("none", beta=0.2), synaptic("zero"), synaptic("subtract")),
    "integrator": (leaky(), leaky("zero"), leaky("none", beta=0.95)),
    "synaptic integrator": (synaptic(), synaptic(), synaptic("none", alpha=0.9)),
    "linear": (leaky(), leaky()),
    "linear after synaptic": (synaptic(), synaptic("zero")),
    "no resets": (leaky("none", beta=0.2), leaky("none", beta=0.3), leaky("none", beta=0.1)),
    "per channel": (
        leaky(beta=spread(-0.2, 1.1, 3, 1, 1), learn_beta=True),
        leaky(threshold=spread(0.25, 2, 12), learn_threshold=True),
        leaky(beta=spread(0.1, 0.9, 4)),
    ),
    "synaptic per channel": (
        synaptic("zero", alpha=spread(0.1, 0.9, 1, 3, 1, 1), threshold=spread(0.5, 1.5, 3, 1, 1)),
        synaptic(alpha=0.4, beta=spread(0.2, 0.9, 12), learn_beta=True),
    ),
    "integrator per channel": (
        leaky(threshold=spread(0.75, 3, 3, 1, 1)),
        leaky(threshold=2.0),
        leaky("none", spread(0.2, 1, 4)),
    ),
}
INTEGRATORS = {name for name, neurons in NETWORKS.items() if "integrator" in name or len(neurons) == 2}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_state_at_every_step_matches_the_users_loop(name):
    network = Loop(*NETWORKS[name])
    imported = convert(network.state_dict(), input_shape=(8, 8, 1), time_steps=STEPS, divided_by=256)
    config, tensors = imported.config, on_grid(imported.config, imported.tensors)
    assert {name: tensor.shape for name, tensor in tensors.items()} == expected_shapes(config)
    np.testing.assert_array_equal(tensors["fc1.weight"], network.fc1.weight.detach().numpy())
    assert config.neuron == type(network.lif1).__name__.lower()
    assert (config.output, config.readout) == (
        ("integrator", "membrane") if name in INTEGRATORS else ("spiking", "spikes")
    )

    images = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 1), np.uint8)
    x = companion.channels_first((images / 256).astype(np.float32))
    theirs = [[np.moveaxis(one.numpy(), 2, -1) for one in layer] for layer in network(x, STEPS)]
    model = from_tensors(config, tensors)
    trace = jax.jit(lambda images: scan.trace(model, images)[1])(images)
    for state, expected in zip(trace.states.values(), theirs, strict=True):
        for name, values in zip(reversed(config.kind.states), reversed(expected), strict=False):  # a current: mem
            assert differ(np.asarray(state[name]), values) == 0
    spiking = [*trace.spikes.values()][: -1 if config.output == "integrator" else None]
    assert all(0.01 < np.asarray(spikes).mean() < 0.95 for spikes in spiking)


def test_the_values_are_read_from_the_file():
    imported = convert(Loop(*NETWORKS["per channel"]).state_dict(), input_shape=(8, 8, 1))
    config, tensors = imported.config, imported.tensors
    assert config.per_channel == ("beta", "threshold") and not config.learn_beta and not config.learn_threshold
    np.testing.assert_array_equal(tensors["lif1.beta"], np.float32([0, 0.45, 1]))
    assert "lif1.beta: clipped to between 0 and 1, as in snnTorch" in imported.notes
    np.testing.assert_array_equal(tensors["lif2.beta"], np.full(12, 0.8, np.float32))
    np.testing.assert_array_equal(tensors["lif3.threshold"], np.ones(4, np.float32))
    assert config.beta == (0.4833, 0.8, 0.5) and config.threshold == (1, 1.125, 1)
    imported = convert(Loop(*NETWORKS["integrator per channel"]).state_dict(), input_shape=(8, 8, 1))
    assert "lif3.beta" in imported.tensors and "lif3.threshold" not in imported.tensors
    assert not any("clipped" in note for note in imported.notes)  # the largest is 1
    imported = convert(Loop(*NETWORKS["mixed resets"]).state_dict(), input_shape=(8, 8, 1))
    assert imported.config.reset == ("zero", "none", "subtract") and imported.config.threshold == (1, 1.5, 1)
    imported = convert(Loop(*NETWORKS["linear after synaptic"]).state_dict(), input_shape=(8, 8, 1))
    assert imported.config.alpha == (0.6, 0.6, 0) and imported.config.beta == (0.7, 0.7, 0)
    assert "neurons with alpha are read as snntorch.Synaptic; snntorch.Alpha looks the same in a state_dict" in (
        imported.notes
    )


@pytest.mark.parametrize(
    ("name", "output", "readout", "note"),
    [
        (
            "integrator",
            None,
            "membrane",
            "lif3 never resets: the class is read from its membranes, without spikes; output spiking",
        ),
        ("integrator", "spiking", "spikes", None),
        ("integrator", "integrator", "membrane", None),
        ("no resets", None, "spikes", "no neuron resets, and the class is read from the spikes of lif3; output integ"),
        ("no resets", "integrator", "membrane", None),
        ("mixed resets", "spiking", "spikes", None),
    ],
)
def test_a_note_says_what_the_class_is_read_from(name, output, readout, note):
    imported = convert(Loop(*NETWORKS[name]).state_dict(), "net.pt", (8, 8, 1), output=output)
    assert imported.config.readout == readout and imported.config.resets[-1] == (
        "subtract" if "mixed" in name else "none"
    )
    notes = [line for line in imported.notes if "the class is read from" in line]
    assert [line[: len(note or "")] for line in notes] == ([note] if note else [])


@pytest.mark.parametrize(
    ("neurons", "output", "facts"),
    [
        (
            (leaky(), synaptic(), leaky()),
            None,
            ("snntorch.Leaky", "lif1", "lif3", "snntorch.Synaptic or Alpha", "lif2"),
        ),
        ((leaky(beta=torch.ones(3, 4, 4)), leaky()), None, ("lif1.beta", "[3, 4, 4]", "[3, 1, 1]")),
        ((synaptic(alpha=torch.ones(4)), synaptic()), None, ("lif1.alpha", "[4]", "[3, 1, 1]")),
        ((leaky(), leaky(beta=torch.ones(2, 12))), None, ("lif2.beta", "[2, 12]", "[12]")),
        ((leaky(), leaky(beta=spread(0.5, torch.nan, 12))), None, ("lif2.beta", "nan")),
        ((leaky(threshold=spread(-1, 1, 3, 1, 1)), leaky()), None, ("lif1.threshold", -1, 2)),
        ((leaky(threshold=2.0**100), leaky()), None, ("lif1.threshold", "1.26765e+30")),
        ((leaky(), leaky()), "spiking", ("output spiking", "fc2")),
        ((leaky(), leaky(), leaky()), "integrator", ("output integrator", "lif3", "subtract")),
    ],
)
def test_unsupported_neurons_are_refused_by_name(neurons, output, facts):
    with refusing(UserError, *facts):
        convert(Loop(*neurons).state_dict(), "net.pt", (8, 8, 1), output=output)


def test_a_file_without_a_reset_can_be_read_as_an_integrator():
    state = Loop(*NETWORKS["integrator"]).state_dict()
    old = {name: value for name, value in state.items() if "reset_mechanism_val" not in name}
    assert convert(old, input_shape=(8, 8, 1)).config.output == "spiking"
    assert convert(old, input_shape=(8, 8, 1), output="integrator").config.output == "integrator"
