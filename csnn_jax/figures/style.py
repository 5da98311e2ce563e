"""The style of the project's figures, and how they're written: as PNG, optionally also as PDF.

Figures are one or two journal columns wide, so text has its actual size in print. Colors are Okabe and Ito's, which
color-blind readers can distinguish. `styled` makes a function draw in this style, regardless of the caller's.
"""

import io
import warnings
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot, whose backend is up to the caller
from matplotlib.ticker import FuncFormatter, NullFormatter

from csnn_jax.figures import Figures
from csnn_jax.files import write_atomic

COLUMN, PAGE = 3.5, 7.0
"""Widths in inches of one journal column, and of two."""
TEXT = 8.0
"""Text size in points."""
DPI = 170
"""Pixels per inch of a PNG."""
LAYOUT: Literal["constrained"] | None = "constrained"
"""How text gets its place. Measuring all of it takes two thirds of a figure's time, so most tests don't."""
BLUE, ORANGE, SKY = "#0072b2", "#d55e00", "#56b4e9"
"""Colors of lines and marks, in the order of use."""
INK, GRAY = "#222222", "#999999"
"""Colors of text and axes, and of background lines."""

_GROUPS = {
    *("axes", "figure", "font", "grid", "image", "legend", "lines"),
    *("patch", "path", "pdf", "savefig", "text", "xtick", "ytick"),
}
_SETTINGS = {key: value for key, value in matplotlib.rcParamsDefault.items() if key.split(".")[0] in _GROUPS} | {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize", "legend.fontsize", "figure.titlesize"), TEXT),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), TEXT),
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "text.parse_math": False,  # names may contain dollar signs, and mathtext's exponents are too small
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # embedded TrueType, because journals reject Type 3
}

styled = matplotlib.rc_context(_SETTINGS)
"""Decorates a function that draws or writes a figure."""


def new(width: float, height: float) -> Figure:
    """An empty figure, sized in inches; call it inside a `styled` function."""
    return Figure(figsize=(width, height), layout=LAYOUT)


@styled
def png(figure: Figure) -> bytes:
    """A figure as PNG."""
    return _bytes(figure, "png")


@styled
def pdf(figure: Figure) -> bytes:
    """A figure as PDF with embedded fonts; the same figure gives the same bytes."""
    return _bytes(figure, "pdf", {"CreationDate": None})


def files(name: str, figures: Figures) -> tuple[str, ...]:
    """Names of the files that `save` writes for a figure of this name."""
    return (f"{name}.png",) if figures == "png" else (f"{name}.png", f"{name}.pdf")


def save(figure: Figure, folder: Path, name: str, figures: Figures) -> None:
    """Writes a figure into a folder, under the names of `files`.

    Raises:
        UserError: the disk is full or the folder can't be written.
    """
    for file in files(name, figures):
        write_atomic(folder / file, pdf(figure) if file.endswith(".pdf") else png(figure))


def powers(axes: Axes, which: str = "y") -> None:
    """Labels a logarithmic axis with numbers such as 1e-5, with all digits at full size."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    axis.set_minor_formatter(NullFormatter())


def short(name: str, most: int) -> str:
    """The name of a class, cut to at most `most` characters."""
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _number(value: float) -> str:
    return f"{value:,g}" if 1e-3 < value < 1e6 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def _bytes(figure: Figure, form: str, metadata: dict[str, None] | None = None) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # a run's name in any script
        figure.savefig(buffer, format=form, dpi=DPI, metadata=metadata)
    return buffer.getvalue()
