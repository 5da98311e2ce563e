"""In Sinabs, beta is the exponential of the time constant; benchmarks/targets/run_sinabs.py runs its files."""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from refusals import refusing

from csnn_torch.programs import sinabs
from csnn_torch.programs.program import Inexact, Layer


def layer(**values: float) -> Layer:
    return Layer("lif2", {name: np.float32(value) for name, value in ({"threshold": 1.0} | values).items()})


@given(st.floats(0.5, 1, width=32))
@example(0.0)
@example(1 - 2.0**-24)
def test_the_exponential_is_beta(beta: float) -> None:
    _, values, gain = sinabs.neurons(layer(beta=beta))
    assert gain == 1 and values["tau"].dtype == np.float32
    assert torch.exp(-1.0 / torch.tensor([values["tau"]])).tolist() == [beta]


def test_a_synapse_and_a_beta_that_is_no_exponential_are_refused() -> None:
    few = [beta for beta in np.linspace(0.05, 0.1, 50, dtype=np.float32) if refused(beta)]
    assert 5 < len(few) < 50  # exp(-1 / tau) is coarser than float32 here
    with refusing(Inexact, "CubaLIF", "--neuron leaky", "--reset zero"):
        sinabs.neurons(layer(alpha=0.5, beta=0.5))


def refused(beta: float) -> bool:
    try:
        sinabs.neurons(layer(beta=beta))
    except Inexact as error:
        assert f"lif2's beta of {beta:.6g}" in str(error)
        return True
    return False
