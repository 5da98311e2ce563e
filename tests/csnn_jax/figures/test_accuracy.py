"""accuracy.png: every run can be drawn, however short, and accuracies above 95% are visible."""

import numpy as np
import pytest
from bundles import TRAIN
from drawn import check_printable, words

from csnn_jax.config import Config
from csnn_jax.figures import accuracy, style
from csnn_jax.runs import rundir
from csnn_jax.runs.rundir import RunDir


@pytest.fixture
def run(tmp_path) -> RunDir:
    return rundir.create(str(tmp_path / "run"), Config())


def trained(run: RunDir, iterations: int) -> None:
    for iteration in range(iterations):
        run.record("train", iter=iteration, **TRAIN | {"loss": 2.3 - iteration / 100})


def test_a_run_of_any_length_is_drawn(run):
    shown = [style.png(accuracy.draw(run))]
    for records in (1, 60):
        trained(run, records)
        run.record("test", iter=records, accuracy=0.5)
        shown.append(style.png(accuracy.draw(run)))
    run.record("end", iter=60, interrupted=False, accuracy=0.75)
    figure = accuracy.draw(run)
    shown.append(style.png(figure))
    assert len(set(shown)) == 4 and len(figure.axes) == 2
    check_printable(figure)
    assert "final test\n75.00 %" in words(figure)


@pytest.mark.parametrize("final", [0.9759, 1.0])
def test_accuracies_above_95_percent_have_their_own_scale(run, final):
    trained(run, 100)
    for iteration, value in ((0, 0.1), (50, 0.9605), (99, 0.97)):
        run.record("validation", iter=iteration, accuracy=value)
    run.record("end", iter=100, interrupted=False, accuracy=final)
    figure = accuracy.draw(run)
    check_printable(figure)
    zoom, whole, _ = figure.axes
    assert zoom.get_ylim()[0] == 95 and zoom.get_ylim()[1] >= 100 and whole.get_ylim() == (0, 102)
    assert {"above 95 %", "accuracy (%)", "validation", f"final test\n{100 * final:.2f} %"} <= set(words(figure))


def test_the_mean_loss_is_in_the_middle_of_its_window(run):
    for iteration in range(100):
        run.record("train", iter=iteration, **TRAIN | {"loss": 1.0 + (iteration == 60)})
    _, mean = accuracy.draw(run).axes[-1].get_lines()
    x, y = (np.asarray(values) for values in mean.get_data())
    raised = x[y > 1.001]
    assert (raised.min() + raised.max()) / 2 == 60 and len(raised) == accuracy.WIDTH


def test_a_run_may_have_any_name(tmp_path):
    name = "\u6570\u5b57 $\\frac$ {<script>"
    run = rundir.create(str(tmp_path / name), Config())
    run.record("train", iter=0, **TRAIN | {"loss": 2.0})
    figure = accuracy.draw(run)
    assert style.png(figure) and style.pdf(figure)  # warnings are errors here
    assert figure.axes[0].get_title(loc="left") == f"Loss ({name})"
