"""comparison.png: loss curves of both frameworks overlaid, and their costs as bars side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from csnn_jax.runs.plots import BLUE, GREY, INK, ORANGE, png
from csnn_torch.compare.results import Cost, Trajectory

COLORS = {"csnn_jax": BLUE, "snntorch": ORANGE}
NAMES = {"csnn_jax": "csnn_jax", "snntorch": "snnTorch"}


def draw(trajectories: Sequence[Trajectory], costs: Sequence[Cost]) -> bytes:
    """The picture as PNG: one column per training, and one row of bars."""
    measured = [cost for cost in costs if not cost.failed]
    rows = 2 * bool(trajectories) + bool(measured)
    if not rows:
        figure = Figure(figsize=(6, 1))
        figure.text(0.5, 0.5, "neither training nor cost was compared", ha="center", va="center", color=INK)
        return png(figure)
    figure = Figure(figsize=(11, 2.6 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 6, height_ratios=[1.4, 1, 1.2][:rows] if trajectories else None)
    width = 6 // max(1, len(trajectories))
    for number, trajectory in enumerate(trajectories):
        columns = slice(number * width, (number + 1) * width)
        top = figure.add_subplot(grid[0, columns])
        _losses(top, trajectory)
        _differences(figure.add_subplot(grid[1, columns], sharex=top), trajectory)
    if measured:
        for number, (name, unit, values) in enumerate(
            (
                ("training iteration", "seconds", [c.step_s for c in measured]),
                ("inference batch", "seconds", [c.infer_s for c in measured]),
                ("peak memory", "GB", [c.peak_memory_mb / 1000 for c in measured]),
            )
        ):
            axes = figure.add_subplot(grid[rows - 1, 2 * number : 2 * number + 2])
            _bars(axes, [c.side for c in measured], values, f"{name} ({unit})")
    return png(figure)


def _losses(axes: Axes, trajectory: Trajectory) -> None:
    for (name, losses), style in zip(trajectory.losses.items(), ("-", "--"), strict=True):
        axes.plot(losses, style, color=COLORS[name], linewidth=2.2 if style == "-" else 1.4, label=NAMES[name])
    axes.set_title(f"{trajectory.dtype}, from {trajectory.start} weights", loc="left", fontsize=10)
    axes.set_ylabel("training loss (nats)")
    low, high = axes.get_ylim()
    if high - low < 0.1:  # a silent network's loss, ln(classes), is flat
        axes.set_ylim((low + high) / 2 - 0.05, (low + high) / 2 + 0.05)
    axes.legend(frameon=False, fontsize=9)
    axes.tick_params(labelbottom=False)
    _plain(axes)


def _differences(axes: Axes, trajectory: Trajectory) -> None:
    values = np.array(trajectory.differences)
    shown = np.where(values > 0, values, np.nan)  # a logarithmic axis has no 0
    axes.semilogy(shown, "o", markersize=3, color=GREY)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if np.isfinite(shown).any():
        axes.set_ylim(np.nanmin(shown) / 10, np.nanmax(shown) * 10)
    else:
        axes.set_ylim(1e-17, 1e-15)
        axes.text(0.5, 0.5, "all exactly 0", transform=axes.transAxes, ha="center", color=INK)
    if trajectory.first_flip is not None:
        axes.axvline(trajectory.first_flip, color=INK, linestyle=":", linewidth=1)
        axes.annotate(
            "first different spike",
            (trajectory.first_flip, 1),
            (4, -10),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set(xlabel="iteration", ylabel="difference of the losses")
    _plain(axes)


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], title: str) -> None:
    colors = [ORANGE if name.startswith("snntorch") else BLUE for name in names]
    bars = axes.barh(range(len(names)), values, color=colors, height=0.6)
    axes.bar_label(bars, [f" {value:.3g}" for value in values], fontsize=9)
    labels = [
        n.replace("snntorch", "snnTorch").replace(" ", "\n", 1) if n.startswith("snntorch") else f"csnn_jax\n{n}"
        for n in names
    ]
    axes.set_yticks(range(len(names)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(values))
    axes.set_title(title, loc="left", fontsize=10)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
