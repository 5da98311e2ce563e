"""The README's picture is what its script draws of the recorded figures."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from commands import ENVIRONMENT
from matplotlib.colors import to_rgb
from PIL import Image

from csnn_jax.figures.style import BLUE, DPI, ORANGE, PAGE, SKY

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "results" / "first_epoch.json"


def first_epoch(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "benchmarks" / "first_epoch.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=ENVIRONMENT, timeout=60)


def test_the_picture_is_drawn_again_from_the_recorded_figures(tmp_path):
    path = tmp_path / "first_epoch.png"
    done = first_epoch("--from", RESULT, "--plot", path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with Image.open(path) as picture, Image.open(ROOT / "docs" / "first_epoch.png") as shown:
        assert picture.width == shown.width == PAGE * DPI
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for color in (BLUE, ORANGE, SKY):
        assert np.count_nonzero(np.abs(pixels - 255 * np.array(to_rgb(color))).max(-1) < 3) > 500


def test_the_whole_epoch_of_one_side_stands_beside_what_the_others_reached():
    curves = json.loads(RESULT.read_text())["curves"]
    assert curves["csnn_jax"]["finished"] and curves["csnn_jax"]["iterations"] == 468
    for side in ("snnTorch", "snnTorch, channels last"):
        assert not curves[side]["finished"] and curves[side]["minutes"][-1] <= 20


def test_a_picture_needs_a_file():
    done = first_epoch("--from", RESULT)
    assert done.returncode == 2 and "--from: expected --plot" in done.stderr
