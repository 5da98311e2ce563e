"""What each program's file says of a layer's neurons gives the neurons' own values back, or it's refused.

benchmarks/targets/run_<program>.py runs the files in the programs.
"""

import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nir
import numpy as np
import pytest
import torch
from commands import ENVIRONMENT
from hypothesis import example, given
from hypothesis import strategies as st
from refusals import refusing
from snntorch.import_nir import _nir_to_snntorch_module

from csnn_torch import programs
from csnn_torch.programs import PROGRAMS, definition, norse, sinabs, spikingjelly
from csnn_torch.programs.program import Inexact, Layer, Written
from export.graphs import nir_graph

DECAYS = st.floats(2.0**-20, 1, width=32)


def written(program: ModuleType, **values: float) -> Written:
    """A program's node for a layer, `lif2`."""
    return program.neurons(
        Layer("lif2", {name: np.float32(one) for name, one in ({"threshold": 0.7} | values).items()})
    )


def read_by_snntorch(node: nir.NIRNode, *names: str) -> dict[str, torch.Tensor]:
    neurons = _nir_to_snntorch_module(node, hack_w_scale=False)
    assert isinstance(neurons, torch.nn.Module)
    return {name: getattr(neurons.float(), name) for name in names}


@given(DECAYS, DECAYS)
@example(0.0, 1.0)
@example(1.0, 0.0)
@example(0.4, 1 - 2.0**-24)
def test_snntorch_reads_each_decay_of_a_file_by_the_definition(alpha: float, beta: float) -> None:
    lif = nir_graph.as_node(written(definition, beta=beta), (3,))
    assert isinstance(lif, nir.LIF) and lif.tau.shape == (3,)
    values = {"beta": np.float32(beta), "threshold": np.float32(0.7)}
    assert all((one == values[name].item()).all() for name, one in read_by_snntorch(lif, *values).items())
    cuba = nir_graph.as_node(written(definition, alpha=alpha, beta=beta), (2, 3, 3))
    assert isinstance(cuba, nir.CubaLIF)
    values["alpha"] = np.float32(alpha)
    assert {name: np.float32(one) for name, one in read_by_snntorch(cuba, *values).items()} == values


@pytest.mark.parametrize("threshold", [0.0, 0.7, 1.0, 3e38])
def test_the_lowest_membrane_that_spikes_is_just_above_the_threshold(threshold: float) -> None:
    included = Layer("lif1", {"threshold": np.float32(threshold)}).included
    assert included > np.float32(threshold) == np.nextafter(included, np.float32(-np.inf))


@pytest.mark.parametrize("bits", range(25))
def test_norses_weights_compensate_for_a_leak_that_is_a_power_of_two(bits: int) -> None:
    kind, values, gain = written(norse, beta=1 - 2.0**-bits)
    assert (kind, gain, values["r"]) == ("LIF", 2**bits, 1)
    rate = norse.DT * (1 / torch.tensor(values["tau"]))  # as in norse.torch.functional.lif_box
    assert rate.dtype == torch.float32 and rate == 2.0**-bits


def test_norses_r_and_w_in_compensate_after_a_synapse_and_no_leak_needs_nothing() -> None:
    kind, values, gain = written(norse, alpha=0.75, beta=0.5)
    assert (kind, gain, values["w_in"], values["r"]) == ("CubaLIF", 1, 4, 2)
    assert written(norse, beta=1)[::2] == ("IF", 1)


@given(st.floats(0.5, 1, width=32))
@example(0.0)
@example(1 - 2.0**-24)
def test_sinabs_exponential_is_beta(beta: float) -> None:
    _, values, gain = written(sinabs, beta=beta)
    assert gain == 1 and values["tau"].dtype == np.float32
    assert torch.exp(-1.0 / torch.tensor([values["tau"]])).tolist() == [beta]


def test_a_beta_that_is_no_exponential_is_refused() -> None:
    refused = 0
    for beta in np.linspace(0.05, 0.1, 50, dtype=np.float32):  # exp(-1 / tau) is coarser than float32 here
        try:
            written(sinabs, beta=beta)
        except Inexact as error:
            refused += f"lif2's beta of {beta:.6g}" in str(error)
    assert 5 < refused < 50


@given(DECAYS, DECAYS)
@example(0.0, 1.0)
@example(1 - 2.0**-24, 0.0)
def test_spikingjellys_decays_come_back_and_meet_its_importers_conditions(alpha: float, beta: float) -> None:
    kind, values, gain = written(spikingjelly, alpha=alpha, beta=beta)
    assert (kind, gain) == ("CubaLIF", 1)
    for tau, factor, decay in (("tau_syn", "w_in", alpha), ("tau_mem", "r", beta)):
        assert np.float32(1.0 - 1e-4 / values[tau]) == np.float32(decay)
        assert values[tau] >= 1e-4 and np.isclose(values[factor], values[tau] / 1e-4, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.6, 0.9, 1.0, *(1 - 2.0**-bits for bits in range(1, 25))])
def test_spikingjelly_divides_only_if_that_is_exact(beta: float) -> None:
    kind, values, _ = written(spikingjelly, beta=beta)
    if 0 < beta < 1 and math.frexp(1 - beta)[0] == 0.5:
        assert (kind, values["tau"] / 1e-4, values["r"]) == ("LIF", 1 / (1 - beta), 1 / (1 - beta))
    else:  # a synapse without memory
        assert (kind, 1 - 1e-4 / values["tau_syn"]) == ("CubaLIF", 0)


@pytest.mark.parametrize(
    ("program", "values", "facts"),
    [
        (definition, {"alpha": 1e-12, "beta": 0.5}, ("lif2", "1 - alpha", 1e-12)),
        (norse, {"beta": 0.9}, ("lif2", "1 - beta", 0.9, "network_norse.nir")),
        (norse, {"alpha": 0.6, "beta": 0.5}, ("lif2", "1 - alpha", 0.6, "network_norse.nir")),
        (norse, {"alpha": 0, "beta": 1}, ("lif2", "1 - beta", "network_norse.nir")),
        (sinabs, {"alpha": 0.5, "beta": 0.5}, ("CubaLIF", "--neuron leaky", "--reset zero")),
    ],
)
def test_what_a_program_cannot_compute_is_refused(program: ModuleType, values: dict, facts: tuple) -> None:
    with refusing(Inexact, *facts):
        written(program, **values)


def test_every_module_is_listed_and_the_list_needs_none_of_the_packages():
    """The flags of commands have the programs' names, and `--help` works without torch."""
    modules = {path.stem for path in Path(programs.__file__).parent.glob("*.py")}
    assert PROGRAMS.keys() == modules - {"__init__", "program", "cause", "definition"}
    assert [*PROGRAMS] == [one.name for one in PROGRAMS.values()]
    assert len({one.target.file for one in PROGRAMS.values()}) == len(PROGRAMS)
    code = "import sys, csnn_torch.programs; print({'torch', 'jax', 'nir', 'h5py', 'snntorch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
