"""The report says what was found, and what wasn't measured."""

import json
from dataclasses import replace

import numpy as np
import pytest

from csnn_jax.config import Config, ModelConfig
from csnn_jax.document import markdown
from csnn_jax.runs.equality import Comparison as Equality
from csnn_jax.runs.equality import Count, Difference, Place
from csnn_torch.compare import report
from csnn_torch.compare.cost import Cost, Rounds
from csnn_torch.compare.results import Comparison, GradientResult, SpikeResult, Trajectory

DIFFERENCE = Difference(Place(3, 0, 7, (1, 2, 3), "lif1"), {"membrane": (1.0, 1.0000001)})


def compared(engine, network="run", images=8, size=10**6, active=(0.1, 0.25), different=(0, 0, 0)) -> SpikeResult:
    """A network of two layers, of which one has all but one tenth of the values."""
    model = ModelConfig((8, 8, 1), (4,), hidden=())
    spikes, membranes, predictions = different
    sizes = {"lif1": size * 9 // 10, "lif2": size // 10}
    fired = dict(zip(sizes, active, strict=True))
    comparison = Equality(
        model,
        images,
        5,
        {node: Count(n, spikes * (node == "lif1"), (round(n * fired[node]), 0)) for node, n in sizes.items()},
        {node: Count(n, membranes * (node == "lif1")) for node, n in sizes.items()},
        Count(images, predictions),
        DIFFERENCE if any(different) else None,
    )
    return SpikeResult(network, engine, images, None, comparison)


@pytest.fixture
def found() -> Comparison:
    comparison = Comparison("run", Config(), {"fc1.bias": np.zeros(2)})
    comparison.spikes += [
        compared("scan"),
        SpikeResult("run", "event", 8, "it has no reset zero"),
        compared("scan", "other", different=(12, 1200, 1)),
        compared("event", "other"),
        compared("scan", "silent", 2, 10**5, (0, 0)),
    ]
    comparison.gradients += [
        GradientResult("run", "atan", "scan", "float64", 4, None, {"fc1.bias": 1e-12}),
        GradientResult("run", "atan", "scan", "float32", 4, None, {"fc1.bias": 1e-5}),
    ]
    return comparison


def lines(comparison: Comparison) -> list[str]:
    return markdown.render(report.document(comparison)).splitlines()


def test_differences_and_gradients_are_shown_in_tables(found):
    shown = lines(found)
    assert "| network | densities by layer (%) | membranes | scan: differ | event: differ |" in shown
    assert "| run | 10.0, 25.0 | 1,000,000 | 0 | not run |" in shown
    assert "| other | 10.0, 25.0 | 1,000,000 | spikes 12, membranes 1,200, predictions 1 | 0 |" in shown
    assert "| silent (2 images) **(not counted)** | 0.0, 0.0 | 100,000 | 0 | not run |" in shown
    assert "Not run: event: it has no reset zero." in shown
    first = "first at step 3, lif1, image 7, channel 1, row 2, column 3: membrane 1.0000001, snnTorch's 1"
    assert any(
        line.startswith("- other, scan: 12 of 1,000,000 spikes (12 in lif1), 1,2") and first in line for line in shown
    )
    assert "| run | atan | 1.0e-12 | 1.0e-05 |" in shown
    broken = [line for line in shown if line.startswith("- **Broken**")]
    assert len(broken) == len(found.broken) == 3, "a variant may be silent"
    assert broken[0] == "- **Broken**: other, scan: membranes that differ: 1200, expected at most 0"
    total = "12 of 3,000,000 spikes, 1,200 of 3,000,000 membranes and 1 of 24 predictions differ from those of snnTorch"
    assert f"- Same network: {total}; 2 networks, 3 comparisons." in shown


def test_costs_have_ratios_unless_a_side_failed_turns_disagree_or_the_machine_is_busy(found):
    steady, apart = Rounds([[1.0]] * 3), Rounds([[0.5], [0.5], [1.0]])
    found.costs += [
        Cost("snntorch", None, "snnTorch 1", Rounds([[2.0]] * 3), steady, 2.5, 1.0, 4000),
        Cost("event", None, "JAX 1", apart, Rounds([[0.1]] * 3), peak_memory_mb=1000, others=[0.0, 0.05, 0.0]),
        Cost("scan", None, "", steady, steady, peak_memory_mb=1000, others=[0.25, 0.0, 0.0]),
        Cost("snntorch channels last", "RuntimeError: no memory | at all"),
    ]
    shown = "\n".join(lines(found))
    differ, busy = "turns differ by a factor of 2.0", "the machine was busy, other programs took 25% of it"
    event = (
        f"training not compared, because {differ}; inference 10 times as fast as snnTorch; 25% of snnTorch's memory."
    )
    assert f"- Cost, csnn_jax event: {event}" in shown
    assert f"- Cost, csnn_jax scan: training and inference not compared, because {busy}; 25%" in shown
    assert shown.count(busy) == 1 and "Medians over 3 fresh processes of each side" in shown
    assert "| snnTorch channels last | not measured |  |  |  |  |  |  |  |" in shown
    assert "- snnTorch channels last: not measured: RuntimeError: no memory | at all" in shown


def test_each_seed_has_a_row_and_a_sentence_gives_mean_and_deviation(found):
    losses = {"csnn_jax": [2.0, 1.75], "snntorch": [2.0, 1.5]}
    one = Trajectory("the seed's", "float32", "scan", 8, 1e-3, losses, {"fc1.bias": 0.5}, 1, {"lif1": 0.1}, 0, 25)
    other = replace(one, losses={"csnn_jax": [2.0, 1.5], "snntorch": [2.0, 1.5]}, parted=None, seed=7)
    found.trajectories += [one, other, replace(one, dtype="float64", parted=None)]
    shown = lines(found)
    said, exact = (line for line in shown if line.startswith("- Same training"))
    assert "over 2 seeds of 2 iterations the mean loss of the last 20 differs by +0.062 +- 0.088" in said
    assert exact.startswith("- Same training, float64: over 2 iterations no spike differs")
    assert any("0.0e+00 before a spike differs, 2.5e-01 in all" in line for line in shown)
    assert any("| float32, seed 0 | float64 |" in line for line in shown)
    assert {"| 0 | 1.875 | 1.750 | +0.125 | 1 |", "| 7 | 1.750 | 1.750 | +0.000 | none differs |"} < {*shown}


def test_there_is_a_picture_if_training_or_cost_was_compared(found, tmp_path):
    trained = replace(found, costs=[Cost("snntorch", None, "", Rounds([[1.0]]), Rounds([[1.0]]), peak_memory_mb=1)])
    for comparison in (trained, found, trained):
        report.write(comparison, tmp_path, "pdf")
        pictures = {"comparison.png", "comparison.pdf"} if comparison is trained else set()
        assert {path.name for path in tmp_path.iterdir()} == {"comparison.json", "comparison.md", *pictures}
        text = (tmp_path / "comparison.md").read_text()
        assert ("](comparison.png)" in text) == (comparison is trained)
        assert json.loads((tmp_path / "comparison.json").read_text()) == json.loads(json.dumps(comparison.as_json()))
