"""The parameters that each program writes for a neuron are read back as the neuron's own values."""

import numpy as np
import pytest
import torch
from nir_files import affine, chained, cuba, lif, sixteenths, write
from refusals import refusing

from csnn_jax.errors import UserError
from csnn_torch.foreign import nir_network
from csnn_torch.programs import PROGRAMS

pytestmark = pytest.mark.numeric


@pytest.fixture
def read(tmp_path):
    def of(node, **settings):
        nodes = affine(sixteenths(0, 24, 16)), node, affine(sixteenths(1, 8, 24)), node
        path = write(tmp_path / "net.nir", chained((16,), *nodes))
        return nir_network.read(path, divided_by=256, **settings)

    return of


@pytest.mark.parametrize("beta", np.linspace(0.5, 0.999, 60, dtype=np.float32))
def test_the_betas_of_snntorch_come_back(read, beta):
    tau = np.float32(1e-4) / (1 - beta)
    found = read(lif(tau=tau, r=tau / np.float32(1e-4)), written_by="snntorch")
    assert np.float32(found.config.beta) == beta and found.config.reset == "subtract"
    np.testing.assert_array_equal(found.tensors["fc1.weight"], sixteenths(0, 24, 16))


@pytest.mark.parametrize("rate", [10, 100, 125, 200, 250, 333, 500, 987.5])
def test_the_rates_of_norse_come_back(read, rate):
    written = torch.tensor(0.001) / torch.tensor(float(rate))
    found = read(lif(tau=written.numpy(), r=1.0), written_by="norse")
    leak = 0.001 * torch.tensor(float(rate))
    assert torch.tensor(found.config.beta) == 1 - leak and found.config.reset == "zero"
    expected = (sixteenths(0, 24, 16).astype(np.float64) * leak.double().numpy()).astype(np.float32)
    np.testing.assert_array_equal(found.tensors["fc1.weight"], expected)


def test_norses_step_can_be_set(read):
    found = read(lif(tau=np.float32(1e-4 / 2500), r=1.0), written_by="norse", dt=1e-4)
    assert found.config.beta == 0.75


def test_the_input_of_a_norse_lif_with_a_synapse_is_scaled_by_its_leak(read):
    written = {name: np.float32(1e-3 / rate) for name, rate in (("tau_mem", 250), ("tau_syn", 500))}
    found = read(cuba(**written, r=1.0, w_in=1.0), written_by="norse")
    assert (found.config.alpha, found.config.beta, found.config.reset) == (0.5, 0.75, "clear")
    np.testing.assert_array_equal(found.tensors["fc1.weight"], sixteenths(0, 24, 16) / 4)


@pytest.mark.parametrize("tau", [1.0, 2.0, 4.5, 10.0, 33.0])
@pytest.mark.parametrize("norm_input", [True, False])
def test_sinabs_counts_in_steps(read, tau, norm_input):
    found = read(lif(tau=np.float32(tau), r=1.0), written_by="sinabs", reset="zero", norm_input=norm_input)
    alpha = torch.exp(-1.0 / torch.tensor(tau))
    assert torch.tensor(found.config.beta) == alpha
    assert found.config.threshold == float(str(np.nextafter(np.float32(1), np.float32(0))))
    factor = 1 - alpha.double().numpy() if norm_input else 1
    np.testing.assert_array_equal(found.tensors["fc1.weight"], (sixteenths(0, 24, 16) * factor).astype(np.float32))


@pytest.mark.parametrize(("tau", "r"), [(2.0, 1.0), (4.0, 4.0), (3.0, 3.0), (2.0, 2.0)])
def test_spikingjelly_spikes_at_its_threshold(read, tau, r):
    found = read(lif(tau=tau * 1e-4, r=r, v_threshold=0.5), written_by="spikingjelly")
    assert np.float32(found.config.beta) == np.float32(1 - 1 / tau)
    assert np.float32(found.config.threshold) == np.nextafter(np.float32(0.5), np.float32(0))
    np.testing.assert_array_equal(found.tensors["fc1.weight"], sixteenths(0, 24, 16) * (r / tau).__float__())


def test_spikingjelly_counts_from_v_reset(read):
    found = read(lif(tau=4e-4, v_leak=-1.0, v_reset=-1.0, v_threshold=1.0), written_by="spikingjelly")
    assert np.float32(found.config.threshold) == np.nextafter(np.float32(2), np.float32(0))
    assert not found.config.bias


INTEGRATE = "IF", {"r": 1.0, "v_threshold": 1.0, "v_reset": 0.0}


def test_r_is_ignored_in_an_if_of_norse_or_sinabs(read):
    for name in ("norse", "sinabs"):
        found = read(INTEGRATE, written_by=name)
        assert found.config.beta == 1 and found.config.reset == PROGRAMS[name].rules.reset
        np.testing.assert_array_equal(found.tensors["fc1.weight"], sixteenths(0, 24, 16))
    defined = read(INTEGRATE)
    assert any(
        "`1`, IF, gets 0.0001 of its input because of its r, time constant and time step; programs" in n
        for n in defined.notes
    )
    assert not any("of its input" in note for note in read(INTEGRATE, dt=1.0).notes)


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
        (lif(), {"written_by": "sinabs"}, (2, "`1`", "LIF")),
        (lif(), {"dt": 1.0, "reset": "subtract"}, (2, "`1`", "LIF")),
        (lif(), {"dt": 1.0, "reset": "clear"}, ("reset clear", "subtract", "zero", "none")),
        (lif(v_leak=0.5, tau=4e-6), {"written_by": "norse"}, (2, "`1`", "v_reset", 0, "0.5")),
    ],
)
def test_values_that_contradict_the_program_are_refused(read, node, settings, facts):
    with refusing(UserError, *facts):
        read(node, **settings)


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
