"""Norse can have every leak that is a power of two, by its own step; benchmarks/targets/run_norse.py runs its files."""

import numpy as np
import pytest
import torch
from refusals import refusing

from csnn_torch.programs import norse
from csnn_torch.programs.program import Inexact, Layer


def layer(**values: float) -> Layer:
    return Layer("lif2", {name: np.float32(value) for name, value in ({"threshold": 1.0} | values).items()})


@pytest.mark.parametrize("bits", range(25))
def test_weights_compensate_for_the_leak(bits: int) -> None:
    leak = 2.0**-bits
    kind, values, gain = norse.neurons(layer(beta=1 - leak))
    assert (kind, gain, values["r"]) == ("LIF", 2**bits, 1)
    rate = norse.DT * (1 / torch.tensor(values["tau"]))  # as in norse.torch.functional.lif_box
    assert rate.dtype == torch.float32 and rate == leak


def test_r_and_w_in_compensate_after_a_synapse_and_no_leak_needs_nothing() -> None:
    kind, values, gain = norse.neurons(layer(alpha=0.75, beta=0.5))
    assert (kind, gain, values["w_in"], values["r"]) == ("CubaLIF", 1, 4, 2)
    kind, _, gain = norse.neurons(layer(beta=1))
    assert (kind, gain) == ("IF", 1)


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
        norse.neurons(layer(**values))
