"""All results of a comparison."""

from dataclasses import replace

import pytest

from csnn_jax.config import Config
from csnn_jax.errors import UserError
from csnn_torch.compare import comparison
from csnn_torch.compare.comparison import Comparison, Origin
from csnn_torch.compare.results import SpikeResult
from csnn_torch.compare.timings import Cost

SPIKES = SpikeResult("run", "scan", "float64", 4, None, 1000, 0, {"lif1": 0.1, "lif2": 0.2}, 1.0)


@pytest.fixture
def found(case) -> Comparison:
    found = Comparison("somewhere", Config(case.config), case.tensors, [SPIKES], costs=[Cost("scan", "RuntimeError")])
    found.origins |= {question: Origin.of_now("command", 1.25) for question in ("network", "cost")}
    return found


def test_the_runs_own_network_must_fire(found):
    assert len(found.checks) == 2 + 2 and found.broken == []
    variant = replace(SPIKES, network="beta 0.9", densities={"lif1": 0.0, "lif2": 0.2})
    found.spikes.append(variant)
    assert found.broken == []
    found.spikes[0] = replace(variant, network="run")
    assert [str(check) for check in found.broken] == ["run: density of lif1: 0, expected 0.01 to 0.6"]
    assert found.as_json()["broken"] == ["run: density of lif1: 0, expected 0.01 to 0.6"]


def test_a_folder_is_made_unless_it_is_a_run(small_run, tmp_path):
    assert comparison.make_folder(str(tmp_path / "a" / "b")).is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / comparison.NAME).touch()
    with pytest.raises(UserError, match="holds a comparison already; expected another path, or --overwrite"):
        comparison.make_folder(str(tmp_path))
    assert comparison.make_folder(str(tmp_path), overwrite=True) == tmp_path
    with pytest.raises(UserError, match="is a run directory"):
        comparison.make_folder(str(small_run))
