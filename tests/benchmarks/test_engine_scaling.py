"""The picture of the scaling can be drawn again from its figures, without measuring."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import ENVIRONMENT
from matplotlib.colors import to_rgb
from PIL import Image

from csnn_jax.figures.style import BLUE, DPI, ORANGE, PAGE

ROOT = Path(__file__).parents[2]


def scaling(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "benchmarks" / "engine_scaling.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=ENVIRONMENT, timeout=60)


def test_the_picture_is_drawn_again_from_the_recorded_figures(tmp_path):
    path = tmp_path / "engine_scaling.png"
    done = scaling("--from", ROOT / "results" / "engine_scaling.json", "--plot", path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with Image.open(path) as picture:
        assert picture.width == PAGE * DPI
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for color in (BLUE, ORANGE):
        assert np.count_nonzero(np.abs(pixels - 255 * np.array(to_rgb(color))).max(-1) < 3) > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected either RUN, to measure, or --from FILE"),
        (("run", "--from", "x.json", "--plot", "x.png"), "expected either RUN, to measure, or --from FILE"),
        (("--from", "x.json"), "--from: expected --plot"),
    ],
)
def test_flags_that_ask_for_nothing_or_both_are_refused(arguments, message):
    done = scaling(*arguments)
    assert done.returncode == 2 and message in done.stderr
