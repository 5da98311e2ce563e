"""Norse can have every leak that is a power of two, by its own step; benchmarks/targets/run_norse.py runs its files."""

import nir
import numpy as np
import pytest
import torch
from refusals import refusing

from export.graphs.nir_dialect import Given, Inexact
from export.parts import nir_norse


def given(**values: float) -> Given:
    return Given("lif2", (3, 2, 2), {name: np.float32(value) for name, value in ({"threshold": 1.0} | values).items()})


@pytest.mark.parametrize("bits", range(25))
def test_weights_compensate_for_the_leak(bits: int) -> None:
    leak = 2.0**-bits
    node, gain = nir_norse.neurons(given(beta=1 - leak))
    assert isinstance(node, nir.LIF) and gain == 2**bits and (node.r == 1).all()
    rates = nir_norse.DT * (1 / torch.from_numpy(node.tau))  # as in norse.torch.functional.lif_box
    assert rates.dtype == torch.float32 and (rates == leak).all()


def test_r_and_w_in_compensate_after_a_synapse_and_no_leak_needs_nothing() -> None:
    node, gain = nir_norse.neurons(given(alpha=0.75, beta=0.5))
    assert isinstance(node, nir.CubaLIF)
    assert (gain, node.w_in.max(), node.r.min()) == (1, 4, 2)
    node, gain = nir_norse.neurons(given(beta=1))
    assert isinstance(node, nir.IF) and gain == 1


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({"beta": 0.9}, ("1 - beta", 0.9)),
        ({"alpha": 0.6, "beta": 0.5}, ("1 - alpha", 0.6)),
        ({"alpha": 0, "beta": 1}, ("1 - beta",)),
    ],
)
def test_other_leaks_are_refused(values: dict, facts: tuple) -> None:
    with refusing(Inexact, "lif2", *facts, "network_norse.nir"):
        nir_norse.neurons(given(**values))
