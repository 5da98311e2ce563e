"""The figure shows whatever was measured: training with one seed or several, and costs."""

import numpy as np
import pytest
from drawn import check_printable, words
from matplotlib.figure import Figure

from csnn_torch.compare import figure
from csnn_torch.compare.cost import Cost, Rounds
from csnn_torch.compare.results import Trajectory

pytestmark = pytest.mark.usefixtures("constrained")

COSTS = [
    Cost("event", None, "", Rounds([[0.5]]), Rounds([[0.1]]), peak_memory_mb=900),
    Cost("snntorch", None, "", Rounds([[2.0]]), Rounds([[1.0]]), peak_memory_mb=4000),
    Cost("scan", "RuntimeError: no memory"),
]


def trajectory(parted: int | None, apart: float, seed: int = 0, dtype: str = "float32") -> Trajectory:
    losses = {"csnn_jax": [2.3, 1.9, 1.7], "snntorch": [2.3, 1.9 + apart, 1.7 + apart]}
    return Trajectory("the seed's", dtype, "scan engine", 8, 1e-3, losses, {}, parted, {}, seed, 25)


def panels(drawn: Figure) -> list:
    return [axes for part in drawn.subfigs for axes in part.axes]


def test_there_is_a_panel_for_everything_that_was_measured():
    one, exact = trajectory(1, 0.1), trajectory(None, 0.0, dtype="float64")
    several = [one, trajectory(None, -0.1, 3), exact]
    for trajectories, costs, rows in (([], COSTS, 3), ([one, exact], COSTS, 7), (several, COSTS, 7)):
        drawn = figure.draw(trajectories, costs)
        check_printable(drawn)
        assert len(panels(drawn)) == rows
        assert len(costs) == 0 or "0.50" in words(drawn)


def test_mean_and_deviation_are_shown_for_several_seeds():
    apart = (0.1, -0.1, 0.3)
    drawn = figure.draw([trajectory(1, value, seed) for seed, value in enumerate(apart)], [])
    losses, differences = panels(drawn)
    assert "float32, from 3 seeds' weights, 25 steps" in words(drawn)
    ours, theirs = (line for line in losses.get_lines() if line.get_label() in figure.NAMES.values())
    np.testing.assert_allclose(ours.get_ydata(), [2.3, 1.9, 1.7])
    np.testing.assert_allclose(theirs.get_ydata(), [2.3, 2.0, 1.8])
    assert len(losses.get_lines()) == 2 * 3 + 2
    (mean,) = (line for line in differences.get_lines() if line.get_label().startswith("mean"))
    np.testing.assert_allclose(mean.get_ydata(), [0, -0.1, -0.1], atol=1e-12)
    band = differences.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(-0.1 - np.std(apart, ddof=1))
