"""accuracy.png: accuracy and loss by iteration, from a run's records; steps.png: accuracy by number of steps used."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from csnn_jax.figures.style import BLUE, COLUMN, GRAY, INK, ORANGE, new, powers, styled
from csnn_jax.runs.rundir import RunDir

HIGH = 95.0
"""Percent; accuracies above it are drawn again on a separate scale."""
WIDTH = 25
"""Iterations in the loss's moving average; odd, so it has a center."""

Points = tuple[list[int], list[float]]
_COLORS = {"test": BLUE, "validation": ORANGE}


@styled
def draw(run: RunDir) -> Figure:
    """Accuracies, if any, above, and the loss below."""
    curves = {kind: _points(records) for kind in _COLORS if (records := run.records(kind))}
    end = run.end
    final = _points([end] if end and end["accuracy"] is not None else [])  # None if `csnn_jax.save` made the run
    scales = _scales([y for _, accuracies in [*curves.values(), final] for y in accuracies])
    figure = new(COLUMN, 1.3 * len(scales) + 1.5)
    *upper, lower = figure.subplots(len(scales) + 1, sharex=True, squeeze=False)[:, 0]
    for axes, (label, limits) in zip(upper, scales.items(), strict=True):
        for kind, points in curves.items():
            axes.plot(*points, "o-", color=_COLORS[kind], label=kind)
        axes.plot(*final, "*", color=INK, markersize=9)
        axes.set(ylabel=label, ylim=limits)
        axes.yaxis.set_major_locator(MultipleLocator(1 if limits[0] else 20))
    if upper:
        _name_final(upper[0], final, run.final_split)
    if curves:
        upper[-1].legend(loc="lower right")
    _loss(lower, run.records("train"))
    figure.axes[0].set_title(f"Accuracy and loss ({run.path.name})" if upper else f"Loss ({run.path.name})")
    figure.align_ylabels()
    return figure


def _points(records: list[dict[str, Any]]) -> Points:
    """Iterations, and accuracies in percent."""
    return [record["iter"] for record in records], [100 * record["accuracy"] for record in records]


def _scales(accuracies: list[float]) -> dict[str, tuple[float, float]]:
    """Label and limits of each panel of accuracies, from the top."""
    whole = {"accuracy (%)": (0.0, 102.0)} if accuracies else {}
    return ({f"above {HIGH:g} %": (HIGH, 100.1)} if max(accuracies, default=0) > HIGH else {}) | whole


def _name_final(axes: Axes, final: Points, split: str) -> None:
    """The final accuracy, next to its star, right of the axes."""
    for iteration, accuracy in zip(*final, strict=True):
        axes.annotate(
            f"final {split}\n{accuracy:.2f} %",
            (iteration, accuracy),
            (8, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
        )


def _loss(axes: Axes, records: list[dict[str, Any]]) -> None:
    steps, losses = np.array([r["iter"] for r in records]), np.array([r["loss"] for r in records])
    axes.plot(steps, losses, color=GRAY, linewidth=0.6, label="each iteration")
    if len(losses) >= 2 * WIDTH:
        mean = np.convolve(losses, np.ones(WIDTH) / WIDTH, "valid")
        half = WIDTH // 2
        axes.plot(steps[half:-half], mean, color=BLUE, label=f"mean of {WIDTH}")
    axes.set(xlabel="iteration", ylabel="training loss (nats)")
    axes.legend(loc="upper right")


@styled
def draw_by_steps(accuracies: Sequence[float], of: str = "test") -> Figure:
    """The accuracy if the window ended after each step, on a logarithmic axis.

    `of` names the split.
    """
    figure = new(COLUMN, 2.2)
    axes = figure.subplots()
    steps = range(1, len(accuracies) + 1)
    axes.plot(steps, [100 * accuracy for accuracy in accuracies], color=BLUE, marker="o" if len(steps) <= 30 else "")
    axes.set(xscale="log", xlabel="steps used", ylabel=f"{of} accuracy (%)")
    powers(axes, "x")
    return figure
