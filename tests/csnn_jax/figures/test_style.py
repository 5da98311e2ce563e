"""The style of all figures: files that open, embedded fonts, colors that everyone can tell apart."""

import io
import re
import subprocess
import sys

import matplotlib
import pytest
from drawn import check_printable, words
from matplotlib.figure import Figure
from PIL import Image

from csnn_jax.figures import style


@style.styled
def drawn() -> Figure:
    figure = style.new(style.COLUMN, 2)
    axes = figure.subplots()
    axes.semilogy([1e-5, 1, 1e7])
    style.powers(axes)
    axes.set(title="100 $ or $\\frac$", xlabel="iteration")
    return figure


def test_pictures_have_the_requested_size_and_are_printable():
    with Image.open(io.BytesIO(style.png(drawn()))) as picture:
        assert picture.size == (style.COLUMN * style.DPI, 2 * style.DPI)
    check_printable(drawn())
    assert {"1e-5", "1e7", "100 $ or $\\frac$"} <= set(words(drawn()))


def test_pdfs_embed_their_fonts_and_are_reproducible():
    pdf = style.pdf(drawn())
    assert pdf == style.pdf(drawn()) and b"CreationDate" not in pdf
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"/Subtype /Image" not in pdf
    assert re.search(rb"/MediaBox \[ ?0 0 252 144 ?\]", pdf)  # points: 3.5 and 2 inches


def test_the_callers_style_has_no_effect_and_is_restored():
    plain = style.png(drawn())
    theirs = {"axes.facecolor": "black", "font.size": 20, "savefig.bbox": "tight", "font.family": "monospace"}
    with matplotlib.rc_context(theirs):
        assert style.png(drawn()) == plain
        assert matplotlib.rcParams["font.size"] == 20
    assert matplotlib.rcParams["pdf.fonttype"] == matplotlib.rcParamsDefault["pdf.fonttype"]


@pytest.mark.parametrize("figures", ["png", "pdf"])
def test_the_files_written_are_those_named(figures, tmp_path):
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
