"""The parameters that each program writes for a neuron are read back as the neuron's own values."""

import numpy as np
import pytest
import torch
from nir_files import affine, chained, cuba, lif, sixteenths, write
from refusals import refusing

from csnn_jax.errors import UserError
from csnn_torch.foreign import nir_network

pytestmark = pytest.mark.numeric


@pytest.fixture
def read(tmp_path):
    def of(node, **settings):
        nodes = affine(sixteenths(0, 24, 16)), node, affine(sixteenths(1, 8, 24)), node
        path = write(tmp_path / "net.nir", chained((16,), *nodes))
        return nir_network.read(path, divided_by=256, **settings)

    return of


INTEGRATE = "IF", {"r": 1.0, "v_threshold": 1.0, "v_reset": 0.0}
ONE, HALF = np.float32(1), np.float32(0.5)


def below(threshold):
    """The threshold of a program whose neurons also spike at it."""
    return np.nextafter(threshold, np.float32(0))


def snntorch(beta):
    tau = ONE * np.float32(1e-4) / (1 - beta)
    return {"written_by": "snntorch"}, lif(tau=tau, r=tau / np.float32(1e-4)), beta, "subtract", ONE, 1


def norse(rate):
    """Its float32 rate times its step of 1 ms is the leak, by which it multiplies the input."""
    leak = 0.001 * torch.tensor(float(rate))
    tau = (torch.tensor(0.001) / torch.tensor(float(rate))).numpy()
    return {"written_by": "norse"}, lif(tau=tau, r=1.0), (1 - leak).numpy(), "zero", ONE, leak.double().item()


def sinabs(tau, norm_input):
    """It counts in steps."""
    settings = {"written_by": "sinabs", "reset": "zero", "norm_input": norm_input}
    beta = torch.exp(-1.0 / torch.tensor(tau))
    factor = 1 - beta.double().item() if norm_input else 1
    return settings, lif(tau=np.float32(tau), r=1.0), beta.numpy(), "zero", below(ONE), factor


def spikingjelly(tau, r):
    node = lif(tau=tau * 1e-4, r=r, v_threshold=0.5)
    return {"written_by": "spikingjelly"}, node, np.float32(1 - 1 / tau), "zero", below(HALF), r / tau


NORSE_SYNAPSE = cuba(tau_mem=np.float32(1e-3 / 250), tau_syn=np.float32(1e-3 / 500), r=1.0, w_in=1.0)
RULES = [
    *map(snntorch, np.linspace(0.5, 0.999, 60, dtype=np.float32)),
    *map(norse, (10, 100, 125, 200, 250, 333, 500, 987.5)),
    ({"written_by": "norse", "dt": 1e-4}, lif(tau=np.float32(1e-4 / 2500), r=1.0), 0.75, "zero", ONE, 0.25),
    ({"written_by": "norse"}, NORSE_SYNAPSE, 0.75, "clear", ONE, 1 / 4),
    *(sinabs(tau, norm_input) for tau in (1.0, 2.0, 4.5, 10.0, 33.0) for norm_input in (True, False)),
    *map(spikingjelly, (2.0, 4.0, 3.0, 2.0), (1.0, 4.0, 3.0, 2.0)),
    ({"written_by": "spikingjelly"}, lif(tau=4e-4, v_leak=-1.0, v_reset=-1.0), 0.75, "zero", below(ONE * 2), 1),
    ({"written_by": "norse"}, INTEGRATE, 1, "zero", ONE, 1),  # r is ignored
    ({"written_by": "sinabs"}, INTEGRATE, 1, "subtract", below(ONE), 1),
    ({"dt": 1.0}, INTEGRATE, 1, "zero", ONE, 1),
]


@pytest.mark.parametrize(("settings", "node", "beta", "reset", "threshold", "factor"), RULES)
def test_each_programs_parameters_come_back(read, settings, node, beta, reset, threshold, factor):
    config, tensors, notes = read(node, **settings)
    assert np.float32(config.beta) == np.float32(beta) and config.reset == reset and not config.bias
    assert config.neuron == "leaky" or config.alpha == 0.5
    assert np.float32(config.threshold) == threshold
    expected = (sixteenths(0, 24, 16).astype(np.float64) * factor).astype(np.float32)
    np.testing.assert_array_equal(tensors["fc1.weight"], expected)
    assert not any("of its input" in note for note in notes)


def test_an_input_that_is_nearly_lost_is_noted(read):
    why = "`1`, IF, gets 0.0001 of its input because of its r, time constant and time step; programs"
    assert any(why in note for note in read(INTEGRATE).notes)


@pytest.mark.parametrize(
    ("node", "settings", "facts"),
    [
        (lif(), {"written_by": "sinabs", "dt": 1.0}, ("dt 1", "written_by sinabs")),
        (lif(), {"written_by": "snntorch", "dt": 1.0}, ("dt 1", "written_by snntorch", "0.0001 s")),
        (lif(), {"dt": -1.0}, ("dt -1",)),
        (lif(), {"written_by": "brian"}, ("written_by", "brian")),
        (lif(), {"norm_input": False}, ("norm_input=False", "written_by")),
        (INTEGRATE, {"written_by": "snntorch"}, (2, "`1`", "IF", "LIF", "CubaLIF")),
        (cuba(), {"written_by": "sinabs"}, (2, "`1`", "CubaLIF", "IF", "LIF")),
        (lif(), {"dt": 1.0, "reset": "clear"}, ("reset clear", "subtract", "zero", "none")),
        (lif(v_leak=0.5, tau=4e-6), {"written_by": "norse"}, (2, "`1`", "v_reset", 0, "0.5")),
    ],
)
def test_values_that_contradict_the_program_are_refused(read, node, settings, facts):
    with refusing(UserError, *facts):
        read(node, **settings)


def test_a_threshold_subtracted_before_the_leak_is_a_reset_of_its_own(read):
    assert read(lif(), written_by="sinabs").config.reset == "deduct"
    assert read(lif(), dt=1.0, reset="subtract").config.reset == "deduct"
    assert read(INTEGRATE, dt=1.0, reset="subtract").config.reset == "subtract"  # without a leak it's the same


def test_recurrent_neurons_of_snntorch_add_as_it_does(tmp_path):
    """Its RLeaky and RSynaptic add their inputs one by one, and reset to zero after that."""
    weight = affine(sixteenths(0, 4, 4))
    each = {name: np.full(4, 1e-4 * value) for name, value in (("tau", 4), ("tau_mem", 4), ("tau_syn", 2))}
    for node, reset, expected in ((lif, "zero", "mute"), (cuba, "zero", "zero"), (lif, "subtract", "subtract")):
        values = node()[1]
        neurons = node(**{name: each.get(name, value) for name, value in values.items()})
        nodes = chained((4,), weight, neurons) | {"rec": weight}
        edges = [("input", "0"), ("0", "1"), ("1", "output"), ("1", "rec"), ("rec", "1")]
        path = write(tmp_path / "net.nir", nodes, edges)
        for program in ("snntorch", None):
            operation = nir_network.read(path, written_by=program, reset=reset).config.graph["n1"].operation
            assert operation.separate == (program == "snntorch")
            assert operation.reset == expected or not program


def test_the_reset_of_a_current_depends_on_the_program(read):
    tau = {"tau_mem": 4e-4, "tau_syn": 2e-4}
    resets = {
        ("snntorch", None): "subtract",
        ("snntorch", "zero"): "zero",
        ("spikingjelly", None): "clear",
        (None, None): "clear",
        (None, "none"): "none",
    }
    for (program, reset), expected in resets.items():
        assert read(cuba(**tau), written_by=program, reset=reset).config.reset == expected
