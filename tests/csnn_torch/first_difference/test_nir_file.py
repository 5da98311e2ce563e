"""NIR files run by other programs; of these, snnTorch is installed."""

import h5py
import nir
import numpy as np
import pytest
import torch
from refusals import refusing
from two_sides import coarse_run, nir_of

from csnn_jax.errors import UserError
from csnn_torch.first_difference import explain
from csnn_torch.first_difference.images import inputs
from csnn_torch.first_difference.sides import open_side

torch.set_num_threads(1)


def comparison(*sides):
    return explain.compare(sides, inputs(sides, None, 3, None, None))


def test_snntorch_and_the_definition_give_the_runs_spikes(tmp_path):
    run = coarse_run(tmp_path / "run", weight_bits=None)
    file = nir_of(run, tmp_path / "network.nir")
    snntorch, definition = open_side(f"snntorch:{file}"), open_side(str(file))
    assert snntorch.program.startswith("snntorch ") and "nir 1" in snntorch.program
    assert definition.program.startswith("by NIR's definition, in torch ")
    for side in (snntorch, definition):
        found = comparison(open_side(str(run)), side)
        assert ([*found.comparison.spikes], found.comparison.different) == (["lif1", "lif2", "lif3"], 0)
        assert all(min(count.active) > 0 for count in found.comparison.spikes.values())


def test_a_flatten_that_includes_the_batch_runs_image_by_image(tmp_path):
    """As in files written by snnTorch, whose importer flattens the batch as well."""
    run = coarse_run(tmp_path / "run")
    file = nir_of(run, tmp_path / "network.nir")
    with h5py.File(file, "r+") as opened:
        starts = [node["start_dim"] for node in opened["node/nodes"].values() if "start_dim" in node]
        assert starts
        for start in starts:
            start[()] = 0
    assert comparison(open_side(str(run)), open_side(f"snntorch:{file}")).comparison.different == 0


def graph(*nodes: nir.NIRNode) -> nir.NIRGraph:
    return nir.NIRGraph.from_list(*nodes)


def test_a_network_that_a_program_does_not_support_is_refused(tmp_path):
    path = str(tmp_path / "network.nir")
    ones = np.ones(3, np.float32)
    leaking = nir.LIF(tau=ones, r=ones, v_leak=ones, v_threshold=ones)
    nir.write(path, graph(nir.Linear(np.ones((3, 4), np.float32)), leaking))
    with refusing(UserError, "network.nir", "v_leak"):
        open_side(f"snntorch:{path}")


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ("norse:{}", ["`pip install norse nir nirtorch`"]),
        ("sinabs:{}", ['`pip install sinabs "nir<=1.0.4" nirtorch`']),
        ("lava:{}", ["lava", "run directory", "snntorch", "norse"]),
        ("snntorch:{}x.nir", ["network.nirx.nir", "no such file"]),
        ("snntorch:{}", ["network.nir", "HDF5"]),
        ("{}", ["network.nir", "HDF5"]),
    ],
    ids=str,
)
def test_bad_input(tmp_path, given, facts):
    file = tmp_path / "network.nir"
    file.write_text("no HDF5")
    with refusing(UserError, *facts):
        open_side(given.format(file))
