"""comparison.png: loss curves of both frameworks overlaid, and their costs as bars side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, MaxNLocator

from csnn_jax.document.numbers import two_digits
from csnn_jax.figures.style import BLUE, GRAY, INK, ORANGE, PAGE, new, powers, styled
from csnn_torch.compare.cost import Cost, readable
from csnn_torch.compare.results import Trajectory, groups

COLORS = {"csnn_jax": BLUE, "snntorch": ORANGE}
NAMES = {"csnn_jax": "csnn_jax", "snntorch": "snnTorch"}
STYLES = {"csnn_jax": "-", "snntorch": "--"}
TRAININGS, BARS = 3.5, 1.7
"""Heights in inches: of the training panels and of the costs."""


@styled
def draw(trajectories: Sequence[Trajectory], costs: Sequence[Cost]) -> Figure:
    """One column per training run (or per group that differs only in the seed), and one row of bars.

    Something must have been trained or measured.
    """
    trained, measured = groups(trajectories), [cost for cost in costs if not cost.failed]
    heights = [TRAININGS] * bool(trained) + [BARS] * bool(measured)
    figure = new(PAGE, sum(heights))
    parts = figure.subfigures(len(heights), height_ratios=heights, squeeze=False)[:, 0]
    if trained:
        _trainings(parts[0], trained)
    if measured:
        _costs(parts[-1], measured)
    return figure


def _trainings(part: SubFigure, trained: Sequence[Sequence[Trajectory]]) -> None:
    panels = part.subplots(2, len(trained), sharex="col", height_ratios=(1.4, 1), squeeze=False)
    for number, (top, below, together) in enumerate(zip(*panels, trained, strict=True)):
        first = together[0]
        of = f"{first.start} weights" if len(together) == 1 else f"{len(together)} seeds' weights"
        top.set_title(f"{first.dtype}, from {of}, {first.time_steps} steps")
        _losses(top, together)
        (_difference if len(together) == 1 else _differences)(below, together)
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        below.set_xlabel("iteration")
        if number == 0:
            top.set_ylabel("training loss (nats)")
    part.align_ylabels(panels[:, 0])


def _losses(axes: Axes, together: Sequence[Trajectory]) -> None:
    """Each framework's curve; for several seeds, their mean, and every seed as a thin line."""
    for name, style in STYLES.items():
        curves = np.array([r.losses[name] for r in together])
        if len(curves) > 1:
            axes.plot(curves.T, style, color=COLORS[name], linewidth=0.5, alpha=0.5)
        width = 2.0 if style == "-" else 1.2
        axes.plot(curves.mean(0), style, color=COLORS[name], linewidth=width, label=NAMES[name])
    low, high = axes.get_ylim()
    if high - low < 0.1:  # a silent network's loss, ln(classes), is flat
        axes.set_ylim((low + high) / 2 - 0.05, (low + high) / 2 + 0.05)
    axes.legend()


def _difference(axes: Axes, together: Sequence[Trajectory]) -> None:
    """Absolute difference between the two losses, by iteration."""
    (trajectory,) = together
    values = np.array(trajectory.differences)
    shown = np.where(values > 0, values, np.nan)  # a logarithmic axis has no 0
    axes.semilogy(shown, "o", color=GRAY)
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    powers(axes)
    if np.isfinite(shown).any():
        axes.set_ylim(np.nanmin(shown) / 10, np.nanmax(shown) * 10)
    else:
        axes.set_ylim(1e-17, 1e-15)
        axes.text(0.5, 0.5, "all exactly 0", transform=axes.transAxes, ha="center")
    if trajectory.parted is not None:
        axes.axvline(trajectory.parted, color=INK, linestyle=":", linewidth=1)
        place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        axes.annotate("first different spike", (trajectory.parted, 1), (4, -10), **place)
    axes.set_ylabel("difference")


def _differences(axes: Axes, together: Sequence[Trajectory]) -> None:
    """csnn_jax's loss minus snnTorch's: for every seed, their mean, and their standard deviation as a band."""
    values = np.array([np.subtract(r.losses["csnn_jax"], r.losses["snntorch"]) for r in together])
    mean, deviation = values.mean(0), values.std(0, ddof=1)
    axes.fill_between(range(len(mean)), mean - deviation, mean + deviation, color=GRAY, alpha=0.35, linewidth=0)
    axes.plot(values.T, color=GRAY, linewidth=0.5)
    axes.plot(mean, color=INK, label="mean \u00b1 deviation")
    parted = [r.parted for r in together if r.parted is not None]
    axes.plot(parted, np.zeros(len(parted)), "|", color=INK, markersize=8, label="first different spike")
    axes.set_ylabel("csnn_jax - snnTorch")
    axes.legend(loc="upper left", borderaxespad=0, handlelength=1.4)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.6 * (high - low))  # room for the legend


def _costs(part: SubFigure, measured: Sequence[Cost]) -> None:
    panels = part.subplots(1, 3, sharey=True)
    values: dict[str, list[tuple[float, str | None]]] = {
        "training iteration (s)": [(cost.step.clock_s, cost.unsteady("step")) for cost in measured],
        "inference batch (s)": [(cost.infer.clock_s, cost.unsteady("infer")) for cost in measured],
        "peak memory (GB)": [(cost.peak_memory_mb / 1000, None) for cost in measured],
    }
    for axes, (title, shown) in zip(panels, values.items(), strict=True):
        row = [value for value, _ in shown]
        bars = axes.barh(range(len(row)), row, color=[_color(cost.side) for cost in measured], height=0.6)
        axes.bar_label(bars, [two_digits(value) + " (unsteady)" * bool(why) for value, why in shown], padding=2)
        axes.set(title=title, xlim=(0, (1.8 if any(why for _, why in shown) else 1.3) * max(row)))
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(
        range(len(measured)), [readable(cost.side).replace(" convolution", "\nconvolution") for cost in measured]
    )
    panels[0].invert_yaxis()


def _color(side: str) -> str:
    return COLORS["snntorch" if side.startswith("snntorch") else "csnn_jax"]
