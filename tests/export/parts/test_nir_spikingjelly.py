"""SpikingJelly's decay factors equal ours; benchmarks/targets/run_spikingjelly.py runs its files."""

import nir
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from export.graphs.nir_dialect import Given
from export.parts import nir_spikingjelly

DECAYS = st.floats(2.0**-20, 1, width=32)


def neurons(**values: float) -> Given:
    return Given("lif2", (3,), {name: np.float32(value) for name, value in ({"threshold": 1.0} | values).items()})


@given(DECAYS, DECAYS)
@example(0.0, 1.0)
@example(1 - 2.0**-24, 0.0)
def test_decays_come_back_and_meet_the_importers_conditions(alpha: float, beta: float) -> None:
    node, gain = nir_spikingjelly.neurons(neurons(alpha=alpha, beta=beta))
    assert isinstance(node, nir.CubaLIF) and gain == 1
    dt = 1e-4
    for tau, factor, decay in ((node.tau_syn, node.w_in, alpha), (node.tau_mem, node.r, beta)):
        (one,) = set(tau.tolist())
        assert np.float32(1.0 - dt / one) == np.float32(decay)
        assert one >= dt and np.isclose(factor, one / dt, rtol=1e-6, atol=1e-12).all()


@pytest.mark.parametrize("bits", range(1, 25))
def test_an_exact_division_becomes_a_lif(bits: int) -> None:
    node, _ = nir_spikingjelly.neurons(neurons(beta=1 - 2.0**-bits))
    assert isinstance(node, nir.LIF)
    assert (node.tau / 1e-4 == 2**bits).all() and (node.r == 2**bits).all()


@pytest.mark.parametrize("beta", [0.0, 0.6, 0.9, 1.0])
def test_other_leaky_neurons_get_a_synapse_without_memory(beta: float) -> None:
    node, _ = nir_spikingjelly.neurons(neurons(beta=beta))
    assert isinstance(node, nir.CubaLIF) and (1 - 1e-4 / node.tau_syn == 0).all()
