"""The pictures of a run: files that open; pyplot, which is the caller's, is not touched."""

import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from csnn_jax.config import Config
from csnn_jax.runs import plots, rundir


@pytest.fixture
def run(tmp_path):
    return rundir.create(str(tmp_path / "run"), Config())


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG" and min(picture.size) > 300
        return np.asarray(picture.convert("RGB"))


def test_accuracy_is_drawn_of_a_run_of_any_length(run):
    shown = []
    for records in (0, 1, 60):
        for iteration in range(records):
            run.record("train", iter=iteration, loss=2.0 - iteration / 100)
        run.record("test", iter=records, accuracy=0.5)
        plots.accuracy(run)
        shown.append(pixels(run.path / "accuracy.png"))
    run.record("end", iter=60, interrupted=False, accuracy=0.75)
    plots.accuracy(run)
    shown.append(pixels(run.path / "accuracy.png"))
    for one, other in itertools.pairwise(shown):
        assert one.shape != other.shape or (one != other).any()


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 3), (8, 8, 2), (5, 8, 8, 2)])
def test_spikes_are_drawn_for_images_of_any_kind(run, shape):
    rng = np.random.default_rng(0)
    layers = [(5, 4, 4, 8), (5, 30), (5, 3)]
    membranes = [rng.normal(size=layer) for layer in layers]
    plots.spikes(run, rng.integers(0, 256, shape, np.uint8), 1, membranes, [m > 1 for m in membranes], [1.0] * 3)
    pixels(run.path / "spikes.png")


def test_a_silent_network_can_be_drawn(run):
    zeros = [np.zeros((4, 40)), np.zeros((4, 3))]
    plots.spikes(run, np.zeros((4, 4, 1), np.uint8), 0, zeros, zeros, [1.0, 1.0])
    pixels(run.path / "spikes.png")


@pytest.mark.parametrize("classes", [2, 10, 40])
def test_a_confusion_matrix_may_have_empty_rows(classes, tmp_path):
    matrix = np.eye(classes, dtype=int) * 3
    matrix[0] = 0
    plots.confusion(tmp_path / "confusion.png", matrix, 0.5)
    pixels(tmp_path / "confusion.png")


def test_a_run_may_have_a_name_that_the_font_lacks(tmp_path):
    run = rundir.create(str(tmp_path / "\u6570\u5b57"), Config())
    run.record("train", iter=0, loss=2.0)
    plots.accuracy(run)  # warnings are errors here
    pixels(run.path / "accuracy.png")


def test_png_gives_bytes_of_the_figure():
    with Image.open(io.BytesIO(plots.png(Figure(figsize=(2, 1))))) as picture:
        assert picture.size == (220, 110)


def test_importing_the_commands_leaves_the_backend_alone():
    code = """
import sys, matplotlib
matplotlib.use("svg")
from csnn_jax import evaluate, predict, train
from csnn_jax.runs import plots
from csnn_jax.training import job
print(matplotlib.get_backend(), "matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "svg False\n"
