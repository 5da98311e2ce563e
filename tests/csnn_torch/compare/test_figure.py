"""The picture shows what there is: trainings, costs, or neither."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from csnn_torch.compare import figure
from csnn_torch.compare.results import Cost, Trajectory

COSTS = [
    Cost("event", None, "", [0.5], [0.1], peak_memory_mb=900),
    Cost("snntorch", None, "", [2.0], [1.0], peak_memory_mb=4000),
    Cost("snntorch compiled", "RuntimeError: no compiler"),
]


def trajectory(first_flip: int | None, apart: float) -> Trajectory:
    losses = {"csnn_jax": [2.3, 1.9, 1.7], "snntorch": [2.3, 1.9 + apart, 1.7 + apart]}
    return Trajectory("the run's", "float32", "scan engine", 8, 1e-3, losses, {}, first_flip, {})


def drawn(trajectories, costs) -> np.ndarray:
    with Image.open(io.BytesIO(figure.draw(trajectories, costs))) as picture:
        return np.asarray(picture.convert("RGB"))


def area(pixels: np.ndarray, color: str) -> int:
    return int((np.abs(pixels - 255 * np.array(to_rgb(color))).max(-1) < 3).sum())


@pytest.mark.parametrize(
    ("trajectories", "costs", "rows"),
    [
        ([], [], 0),
        ([], COSTS, 1),
        ([trajectory(None, 0.0)], [], 2),
        ([trajectory(1, 0.1), trajectory(None, 0.0)], COSTS, 3),
    ],
)
def test_there_is_a_row_for_everything_that_was_measured(trajectories, costs, rows):
    pixels = drawn(trajectories, costs)
    assert pixels.shape[0] == pytest.approx(110 * (2.6 * rows or 1), abs=1)
    for color in figure.COLORS.values():
        assert (area(pixels, color) > 100) is (rows > 0)


def test_the_longer_bars_are_snntorchs():
    pixels = drawn([], COSTS)
    assert 3 < area(pixels, figure.COLORS["snntorch"]) / area(pixels, figure.COLORS["csnn_jax"]) < 8
