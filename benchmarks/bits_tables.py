"""Table and chart of low-bit networks, for results.py; real_events.py trains the full-precision ones on `saccades`."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from csnn_jax.document.markdown import table
from csnn_jax.figures.style import BLUE, ORANGE, PAGE, new, styled

RESULTS = Path(__file__).parent.parent / "results"
JOBS = {
    "fast": "`fast` with another loss and 14 epochs on MNIST",
    "fashion": "`accurate` with 10 epochs on Fashion-MNIST",
    "saccades": "`events` on `saccades`",
}
TITLES = {"fast": "MNIST", "fashion": "Fashion-MNIST", "saccades": "saccades"}
WIDTHS = ("full", "8", "4", "3", "2")

Trained = Mapping[tuple[str, str], Sequence[dict[str, Any]]]
"""The training runs by job and width, seeds in order."""


def read() -> Trained:
    paths = [*RESULTS.glob("bits/*.json"), *RESULTS.glob("real_events/saccades-*.json")]
    runs = [json.loads(path.read_text()) for path in paths]
    trained = {}
    for job in JOBS:
        for bits in WIDTHS:
            mine = [run for run in runs if (run["job"], run["bits"]) == (job, bits)]
            if mine:
                trained[job, bits] = sorted(mine, key=lambda run: run["seed"])
    return trained


def bits() -> str:
    """A row for each job and width: kilobytes, and each seed's accuracy if trained at that width or rounded to it."""
    trained = read()
    rows = []
    for (job, width), runs in trained.items():
        seeds = ", ".join(f"{100 * run['accuracy']:.2f}" for run in runs)
        name = JOBS[job] if width == WIDTHS[0] else ""
        rows.append((name, width, f"{runs[0]['kilobytes']:,.0f}", seeds, _rounded(trained[job, "full"], width)))
    return table(("trained", "bits", "kB", "test accuracy by seed (%)", "full precision, then rounded (%)"), rows)


def _rounded(full: Sequence[dict[str, Any]], width: str) -> str:
    if width == "full":
        return ""
    return ", ".join(f"{100 * accuracy:.2f}" for accuracy in rounded(full, width))


def rounded(full: Sequence[dict[str, Any]], width: str) -> list[float]:
    """Accuracies of full-precision networks after rounding to a width."""
    return [one["accuracy"] for run in full for one in run["rounded"] if str(one["bits"]) == width]


@styled
def draw() -> Figure:
    """Accuracy against kilobytes: trained at a width, and rounded to it."""
    trained = read()
    shown = [job for job in JOBS if (job, "full") in trained]
    figure = new(PAGE, 2.8)
    for axes, job in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        runs = {width: trained[job, width] for width in WIDTHS if (job, width) in trained}
        for color, mark, points in ((ORANGE, "s", _afterwards(runs["full"])), (BLUE, "o", _at_width(runs))):
            middle = [(kilobytes, statistics.mean(accuracies)) for kilobytes, accuracies in points]
            axes.plot(*zip(*middle, strict=True), color=color, linewidth=1.2, zorder=1)
            for kilobytes, accuracies in points:
                axes.plot([kilobytes] * len(accuracies), accuracies, mark, color=color, markersize=4)
        top = axes.get_ylim()[1]
        for width, of in runs.items():
            axes.annotate(
                width, (of[0]["kilobytes"], top), (0, 2), textcoords="offset points", ha="center", va="bottom"
            )
        axes.plot([], [], "-o", color=BLUE, markersize=4, label="trained at that width")
        axes.plot([], [], "-s", color=ORANGE, markersize=4, label="rounded after training")
        axes.set(xscale="log", ylim=(axes.get_ylim()[0], top), xlabel="parameters (kB), and bits above")
        axes.set_title(TITLES[job], pad=20)
        axes.set_xticks([500, 1000, 2000], ["500", "1,000", "2,000"])
        axes.minorticks_off()
    figure.axes[0].set_ylabel("test accuracy (%)")
    figure.axes[0].legend(loc="lower right")
    return figure


Points = list[tuple[float, list[float]]]
"""Kilobytes, and accuracies in percent."""


def _at_width(runs: Mapping[str, Sequence[dict[str, Any]]]) -> Points:
    return [(of[0]["kilobytes"], [100 * run["accuracy"] for run in of]) for of in runs.values()]


def _afterwards(full: Sequence[dict[str, Any]]) -> Points:
    sizes = [(str(one["bits"]), one["kilobytes"]) for one in full[0]["rounded"]]
    return [(kilobytes, [100 * one for one in rounded(full, width)]) for width, kilobytes in sizes]


TABLES: dict[str, Callable[[], str]] = {"bits": bits}
