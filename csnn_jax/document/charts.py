"""Makes charts: Plotly figures as plain data, in a page's own colors, which follow light and dark."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.document.blocks import Chart

COLORS = 8
LOG = {"type": "log", "dtick": 1, "tickformat": "~g"}
"""Settings of an axis of small numbers."""
STEPS = {"type": "log", "tickvals": [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]}
"""Settings of an axis of time steps."""
SYMBOLS = ("square", "diamond", "triangle-up", "triangle-down", "hexagon")
"""Markers that can be told apart without their colors; a legend shows them."""

_LEAST = 0.01  # percent missing, shown as none
_DIGITS = (1, 5, 2, 3, 7, 4, 6, 8, 9, 2.5, 1.5)  # of ticks, preferred ones first
_APART = 0.075  # minimum distance of ticks, as a fraction of the scale's length
_DASHES = ("solid", "dash", "dot", "dashdot")
_HEAT = [[0, "var(--heat-0)"], [0.5, "var(--heat-1)"], [1, "var(--heat-2)"]]

Values = Sequence[Any] | np.ndarray


class Series(NamedTuple):
    """A line or points in a chart.

    Attributes:
        name: for the legend and hover labels.
        x, y: coordinates; None or NaN is a gap.
        number: picks color and dashes.
        mode: Plotly's: "lines", "markers" or "lines+markers".
        width: width of the line in pixels.
        opacity: 0 to 1.
        symbol: shape of its markers.
        texts: hover text of each point instead of y; empty: y.
    """

    name: str
    x: Values
    y: Values
    number: int = 0
    mode: str = "lines"
    width: float = 2.0
    opacity: float = 1.0
    symbol: str = "circle"
    texts: Sequence[str] = ()


def color_of(number: int) -> str:
    """The color of a series by its number, for a style or a figure."""
    return f"var(--series-{number % COLORS + 1})"


def lines(
    caption: str,
    series: Sequence[Series],
    x: str,
    y: str,
    *,
    x_axis: Mapping[str, Any] | None = None,
    y_axis: Mapping[str, Any] | None = None,
) -> Chart:
    """Lines over one axis, with a legend if there are several names.

    Args:
        caption: shown above the chart.
        series: equal names share an entry of the legend.
        x: title of the x axis, with its unit.
        y: title of the y axis.
        x_axis: more of Plotly's settings of the x axis, such as its type.
        y_axis: the same for the y axis.
    """
    groups = {name: f"g{index}" for index, name in enumerate(dict.fromkeys(line.name for line in series))}
    traces = [_line(line, groups[line.name]) for line in series]
    layout = {"xaxis": _axis(x, x_axis), "yaxis": _axis(y, y_axis)}
    return Chart(caption, f"Chart: {y} over {x}.", traces, layout)


def stretched(series: Sequence[Series]) -> tuple[list[Series], dict[str, Any]]:
    """Accuracies from 0 to 1 on a scale stretched toward 100%: series for `lines`, and its `y_axis`."""
    made = []
    for line in series:
        missing = [max(_LEAST, 100 * (1 - value)) for value in line.y]
        made.append(line._replace(y=missing, texts=[f"{value:.2%}" for value in line.y]))
    all_missing = [value for line in made for value in line.y] or [1]
    least, most = min(all_missing), max(all_missing)
    ticks = _ticks(math.log10(most / least) or 2)  # decades; Plotly shows two for a single value
    if least < most and sum(least <= tick <= most for tick in ticks) < 3:
        ticks = _even_ticks(least, most)
    names = ["100" if tick == _LEAST else f"{100 - tick:.4g}" for tick in ticks]
    return made, {"type": "log", "autorange": "reversed", "tickvals": ticks, "ticktext": names}


def _ticks(decades: float) -> list[float]:
    """Ticks in percent missing, far enough apart that their labels don't overlap."""
    wanted = [90.0, *(float(f"{digit * scale:g}") for digit in _DIGITS for scale in (10, 1, 0.1, 0.01))]
    ticks: list[float] = []
    for tick in wanted:
        if tick <= 90 and all(abs(math.log10(tick / other)) >= _APART * decades for other in ticks):
            ticks.append(tick)
    return sorted(ticks, reverse=True)


def _even_ticks(least: float, most: float) -> list[float]:
    """Ticks at equal distances for a range in percent that's too short for round numbers of `_ticks`."""
    rough = (most - least) / 5
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * scale for digit in (1, 2, 5, 10) if digit * scale >= rough)
    return [step * number for number in range(math.floor(most / step), math.ceil(least / step) - 1, -1)]


def bars(
    caption: str,
    x: Values,
    y: Values,
    labels: tuple[str, str],
    *,
    number: int = 0,
    y_axis: Mapping[str, Any] | None = None,
    x_lines: Sequence[float] = (),
) -> Chart:
    """Bars, such as a histogram's, at x with heights y, and dashed lines at `x_lines`.

    `labels` are the titles of the axes, with units.
    """
    trace = {"type": "bar", "x": x, "y": y, "marker": {"color": color_of(number)}, "hoverinfo": "x+y"}
    shapes = [shape for at in x_lines for shape in _upright(at)]
    layout = {"xaxis": _axis(labels[0]), "yaxis": _axis(labels[1], y_axis), "bargap": 0.05, "shapes": shapes}
    return Chart(caption, f"Chart: {labels[1]} over {labels[0]}.", [trace], layout, 200)


def dots(caption: str, categories: Sequence[str], groups: Mapping[str, Values], y: str) -> Chart:
    """A marker of every group for each category, on a logarithmic axis, where bars would make no sense."""
    traces = []
    for number, (name, values) in enumerate(groups.items()):
        symbol = SYMBOLS[number % len(SYMBOLS)]
        trace = _line(Series(name, categories, values, number, "markers", symbol=symbol), f"g{number}")
        traces.append(trace | {"marker": trace["marker"] | {"size": 13}})
    layout = {"xaxis": {"type": "category"}, "yaxis": _axis(y, LOG | {"tickformat": "~s"})}
    return Chart(caption, f"Chart: {y}, by {', '.join(groups)}.", traces, layout)


def heat(caption: str, values: np.ndarray, names: Sequence[str], x: str, y: str) -> Chart:
    """A matrix [rows, columns] in colors, the first row on top; `names` of both."""
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": values,
        "colorscale": _HEAT,
        "hoverinfo": "x+y+z",
    }
    trace |= {"xgap": 1, "ygap": 1, "colorbar": {"thickness": 12, "outlinewidth": 0}}
    axes = {"xaxis": _axis(x, {"type": "category"}), "yaxis": _axis(y, {"type": "category", "autorange": "reversed"})}
    return Chart(caption, f"Matrix: {y} by {x}.", [trace], axes, 560)


def thinned(x: Values, y: Values, most: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Reduces a long line to at most `most` points, each the mean of its neighborhood."""
    size = -(-len(x) // most) if len(x) else 1
    starts = np.arange(0, len(x), size)
    counts = np.diff(np.append(starts, len(x)))
    both = (np.asarray(values, float) for values in (x, y))
    first, second = (np.add.reduceat(values, starts) / counts if len(values) else values for values in both)
    return first, second


def _line(series: Series, group: str) -> dict[str, Any]:
    color, symbol = color_of(series.number), series.symbol
    size = 11 if symbol == "star" else 9 if symbol in SYMBOLS else 5
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": series.mode,
        "name": series.name,
        "x": series.x,
        "y": series.y,
        "legendgroup": group,
        "line": {"color": color, "width": series.width, "dash": _DASHES[series.number // COLORS % len(_DASHES)]},
        "marker": {"color": color, "size": size, "symbol": symbol},
        "opacity": series.opacity,
        "hoverlabel": {"namelength": -1},
        "hoverinfo": "x+y+name",
    }
    return trace | ({"text": series.texts, "hoverinfo": "x+text+name"} if series.texts else {})


def _upright(at: float) -> Iterator[dict[str, Any]]:
    """A dashed line, on top of one in the page's color that makes it visible on bars."""
    for line in ({"color": "var(--paper)", "width": 5}, {"color": "var(--ink)", "width": 2, "dash": "dash"}):
        yield {"type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1, "line": line}


def _axis(title: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"title": {"text": title}, **(more or {})}
