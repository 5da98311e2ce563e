"""The report says what was found, and what was not."""

import json
from dataclasses import replace

import numpy as np
import pytest

from csnn_jax.config import Config
from csnn_torch.compare import report
from csnn_torch.compare.comparison import Comparison
from csnn_torch.compare.results import Flip, GradientResult, SpikeResult, Trajectory
from csnn_torch.compare.timings import Cost, Rounds

DENSITIES = {"lif1": 0.1, "lif2": 0.25}
FLIP = Flip("lif1", 3, 7, (1, 2, 3), 1.0000001, 1.0, 1e-7)


@pytest.fixture
def found() -> Comparison:
    found = Comparison("run", Config(), {"fc1.bias": np.zeros(2)})
    found.spikes += [
        SpikeResult("run", "scan", "float64", 8, None, 10**6, 0, DENSITIES, 0.5),
        SpikeResult("run", "event", "float64", 8, "it computes in float32"),
        SpikeResult("run", "scan", "float32", 80, None, 10**7, 12, DENSITIES, 0.5, 1, 1e-7, (FLIP,), 0, 1),
        SpikeResult("silent", "scan", "float64", 2, None, 10**6, 0, {"lif1": 0.0, "lif2": 0.0}, 1.0),
    ]
    found.gradients += [
        GradientResult("run", "atan", "scan", "float64", 4, None, {"fc1.bias": 1e-12}, True),
        GradientResult("run", "atan", "scan", "float32", 4, None, {"fc1.bias": 1e-5}, False),
    ]
    return found


def lines(found: Comparison) -> list[str]:
    return report.text(found).splitlines()


def test_spikes_and_gradients_stand_in_tables(found):
    shown = lines(found)
    assert "| run | 10.0, 25.0 | 1,000,000 | 0 (50.0 %) | 12 on 80 images (50.0 %) | 0 (1 tie) |" in shown
    assert len(found.broken) == 1, "a variant may be silent"
    assert "| silent (2 images) **(not counted)** | 0.0, 0.0 | 1,000,000 | 0 (100.0 %) | not run | 0 |" in shown
    assert "Not run: event, float64: it computes in float32." in shown
    assert "| run | atan | 1.0e-12 | 1.0e-05 (a spike flipped) |" in shown
    assert any(
        line.startswith("| run, scan, float32 | 12 of 10,000,000 (1.2 in a million) | 1 of 80 |") for line in shown
    )
    assert "- **Broken**: run, scan, float32: share of spikes that differ: 1.2e-06, expected at most 1e-06" in shown
    assert "- Same network, float64: 0 of 1,000,000 spikes differ, 0 predictions; 1 network, 1 comparison." in shown


def test_costs_have_ratios_unless_a_side_failed_or_turns_disagree_or_the_machine_is_busy(found):
    steady, apart = Rounds([[1.0]] * 3), Rounds([[0.5], [0.5], [1.0]])
    found.costs += [
        Cost("snntorch", None, "snnTorch 1", Rounds([[2.0]] * 3), steady, 2.5, 1.0, 4000),
        Cost("event", None, "JAX 1", apart, Rounds([[0.1]] * 3), peak_memory_mb=1000, others=[0.0, 0.05, 0.0]),
        Cost("scan", None, "", steady, steady, peak_memory_mb=1000, others=[0.25, 0.0, 0.0]),
        Cost("snntorch channels last", "RuntimeError: no memory | at all"),
    ]
    shown = "\n".join(lines(found))
    differ, busy = "none: turns differ by a factor of 2.0", "none: the machine was busy, other programs took 25 % of it"
    assert f"as multiples of snnTorch's speed, training {differ}, inference 10; 25 % of its memory." in shown
    assert shown.count(busy) == 4 and "Medians over 3 fresh processes of each side" in shown
    assert "| snnTorch channels last | not measured |  |  |  |  |  |  |  |" in shown
    assert "- snnTorch channels last: not measured: RuntimeError: no memory | at all" in shown


def test_several_seeds_have_a_row_each_and_a_sentence_of_mean_and_deviation(found):
    losses = {"csnn_jax": [2.0, 1.75], "snntorch": [2.0, 1.5]}
    one = Trajectory("the seed's", "float32", "scan", 8, 1e-3, losses, {"fc1.bias": 0.5}, 1, {"lif1": 0.1}, 0, 25)
    other = replace(one, losses={"csnn_jax": [2.0, 1.5], "snntorch": [2.0, 1.5]}, first_flip=None, seed=7)
    found.trajectories += [one, other, replace(one, dtype="float64", first_flip=None)]
    shown = lines(found)
    said, exact = (line for line in shown if line.startswith("- Same training"))
    assert "over 2 seeds of 2 iterations the mean loss of the last 20 differs by +0.062 +- 0.088" in said
    assert exact.startswith("- Same training, float64: over 2 iterations no spike flips")
    assert {"| 0 | 1.875 | 1.750 | +0.125 | 1 |", "| 7 | 1.750 | 1.750 | +0.000 | none flips |"} < {*shown}


def test_all_three_files_are_written(found, tmp_path):
    report.write(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.json", "comparison.md", "comparison.png"}
    assert json.loads((tmp_path / "comparison.json").read_text()) == json.loads(json.dumps(found.as_json()))
    assert (tmp_path / "comparison.md").read_text() == report.text(found)
