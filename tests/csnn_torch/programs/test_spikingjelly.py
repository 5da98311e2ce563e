"""SpikingJelly's decay factors equal ours; benchmarks/targets/run_spikingjelly.py runs its files."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from csnn_torch.programs import spikingjelly
from csnn_torch.programs.program import Layer

DECAYS = st.floats(2.0**-20, 1, width=32)


def layer(**values: float) -> Layer:
    return Layer("lif2", {name: np.float32(value) for name, value in ({"threshold": 1.0} | values).items()})


@given(DECAYS, DECAYS)
@example(0.0, 1.0)
@example(1 - 2.0**-24, 0.0)
def test_decays_come_back_and_meet_the_importers_conditions(alpha: float, beta: float) -> None:
    kind, values, gain = spikingjelly.neurons(layer(alpha=alpha, beta=beta))
    assert (kind, gain) == ("CubaLIF", 1)
    dt = 1e-4
    for tau, factor, decay in (("tau_syn", "w_in", alpha), ("tau_mem", "r", beta)):
        assert np.float32(1.0 - dt / values[tau]) == np.float32(decay)
        assert values[tau] >= dt and np.isclose(values[factor], values[tau] / dt, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("bits", range(1, 25))
def test_an_exact_division_becomes_a_lif(bits: int) -> None:
    kind, values, _ = spikingjelly.neurons(layer(beta=1 - 2.0**-bits))
    assert (kind, values["tau"] / 1e-4, values["r"]) == ("LIF", 2**bits, 2**bits)


@pytest.mark.parametrize("beta", [0.0, 0.6, 0.9, 1.0])
def test_other_leaky_neurons_get_a_synapse_without_memory(beta: float) -> None:
    kind, values, _ = spikingjelly.neurons(layer(beta=beta))
    assert (kind, 1 - 1e-4 / values["tau_syn"]) == ("CubaLIF", 0)
