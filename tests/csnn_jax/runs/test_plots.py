"""The pictures of a run: files that open, and nothing left in matplotlib."""

import io
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from csnn_jax.config import Config
from csnn_jax.runs import plots, rundir


@pytest.fixture(autouse=True)
def nothing_left_open():
    yield
    assert plt.get_fignums() == []


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


def test_png_gives_bytes_of_the_figure():
    with Image.open(io.BytesIO(plots.png(plt.figure(figsize=(2, 1))))) as picture:
        assert picture.size == (220, 110)
