"""The style of all figures: files that open, fonts that are in them, colours that all can tell apart."""

import io
import itertools
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from drawn import check_printable, words
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from csnn_jax.figures import style

# What people without one of the three cones see, in linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.
BLINDNESS = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
TO_XYZ = np.array([(0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)])


@style.styled
def drawn() -> Figure:
    figure = style.new(style.COLUMN, 2)
    axes = figure.subplots()
    axes.semilogy([1e-5, 1, 1e7])
    style.powers(axes)
    axes.set(title="100 $ or $\\frac$", xlabel="iteration")
    return figure


def lab(linear: np.ndarray) -> np.ndarray:
    """CIELAB of a colour in linear sRGB."""
    x, y, z = np.cbrt(np.maximum(TO_XYZ @ linear / TO_XYZ.sum(1), 0))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def linear(color: str) -> np.ndarray:
    value = np.array(to_rgb(color))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def apart(one: str, other: str, blindness: str) -> float:
    """CIE76 difference of two colours, as the colour-blind see them."""
    seen = [lab(np.array(BLINDNESS[blindness]) @ linear(color)) for color in (one, other)]
    return float(np.linalg.norm(seen[0] - seen[1]))


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_the_colours_differ_for_the_colour_blind(blindness):
    colours = (style.BLUE, style.ORANGE, style.SKY, style.INK, style.GREY)
    assert min(apart(one, other, blindness) for one, other in itertools.combinations(colours, 2)) > 20
    assert apart("#d00000", "#806000", "deuteranopia") < 20  # red and olive: the measure tells


def test_a_picture_is_of_the_asked_for_size_and_may_be_printed():
    with Image.open(io.BytesIO(style.png(drawn()))) as picture:
        assert picture.size == (style.COLUMN * style.DPI, 2 * style.DPI)
    check_printable(drawn())
    assert {"1e-5", "1e7", "100 $ or $\\frac$"} <= set(words(drawn()))


def test_a_pdf_holds_its_fonts_and_has_equal_bytes_each_time():
    found = style.pdf(drawn())
    assert found == style.pdf(drawn()) and b"CreationDate" not in found
    assert b"/FontFile2" in found and b"/Type3" not in found and b"/Subtype /Image" not in found
    assert re.search(rb"/MediaBox \[ ?0 0 252 144 ?\]", found)  # points: 3.5 and 2 inches


def test_the_callers_style_changes_nothing_and_is_given_back():
    plain = style.png(drawn())
    theirs = {"axes.facecolor": "black", "font.size": 20, "savefig.bbox": "tight", "font.family": "monospace"}
    with matplotlib.rc_context(theirs):
        assert style.png(drawn()) == plain
        assert matplotlib.rcParams["font.size"] == 20
    assert matplotlib.rcParams["pdf.fonttype"] == matplotlib.rcParamsDefault["pdf.fonttype"]


@pytest.mark.parametrize("figures", ["png", "pdf"])
def test_what_is_written_is_what_is_named(figures, tmp_path):
    style.save(drawn(), tmp_path, "some", figures)
    assert {path.name for path in tmp_path.iterdir()} == set(style.files("some", figures))
    assert (tmp_path / "some.png").read_bytes() == style.png(drawn())
    if figures == "pdf":
        assert (tmp_path / "some.pdf").read_bytes() == style.pdf(drawn())


def test_importing_the_commands_leaves_the_backend_alone():
    code = """
import sys, matplotlib
matplotlib.use("svg")
from csnn_jax import evaluate, predict, train
from csnn_jax.figures import accuracy, confusion, spikes
from csnn_jax.training import job
print(matplotlib.get_backend(), "matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "svg False\n"
