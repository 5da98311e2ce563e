"""Charts of a page: Plotly figures as plain JSON, in the page's own colors, which follow light and dark.

Text is escaped unless it's `Html`, because Plotly would interpret `<b>` and the like as markup.
"""

import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.document.html import PLOTLY, Content, Html, data, element

COLOURS = 8
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


class Entry(NamedTuple):
    """An entry of a legend.

    Attributes:
        name: its text.
        group: `legendgroup` of its traces.
        number: picks its color.
        symbol: shape of its markers, shown if it's one of `SYMBOLS`.
        line: whether a line is shown.
    """

    name: str
    group: str
    number: int
    symbol: str = ""
    line: bool = True


def colour(number: int) -> str:
    """The color of a series by its number, for a style or a figure."""
    return f"var(--series-{number % COLOURS + 1})"


def lines(
    caption: Content,
    series: Sequence[Series],
    x: str,
    y: str,
    *,
    height: int = 320,
    x_axis: Mapping[str, Any] | None = None,
    y_axis: Mapping[str, Any] | None = None,
    y_lines: Sequence[float] = (),
) -> Html:
    """Lines over one axis, with a legend if there are several names.

    Args:
        caption: shown above the chart.
        series: equal names share an entry of the legend.
        x: title of the x axis, with its unit.
        y: title of the y axis.
        height: in CSS pixels.
        x_axis: more of Plotly's settings of the x axis, such as its type.
        y_axis: the same for the y axis.
        y_lines: where dashed lines cross the whole chart.
    """
    groups = {name: f"g{index}" for index, name in enumerate(dict.fromkeys(one.name for one in series))}
    traces = [_line(one, groups[one.name]) for one in series]
    shapes = [_across(at) for at in y_lines]
    layout = {"xaxis": _axis(x, x_axis), "yaxis": _axis(y, y_axis), "shapes": shapes}
    entries = {one.name: Entry(one.name, groups[one.name], one.number, one.symbol) for one in reversed(series)}
    legend = [entries[name] for name in groups] if len(groups) > 1 else []
    return figure(caption, f"Chart: {y} over {x}.", traces, layout, height, legend)


def stretched(series: Sequence[Series]) -> tuple[list[Series], dict[str, Any]]:
    """Accuracies from 0 to 1 on a scale stretched toward 100%: series for `lines`, and its `y_axis`."""
    made = []
    for one in series:
        missing = [max(_LEAST, 100 * (1 - value)) for value in one.y]
        made.append(one._replace(y=missing, texts=[f"{value:.2%}" for value in one.y]))
    all_missing = [value for one in made for value in one.y] or [1]
    ticks = _ticks(math.log10(max(all_missing) / min(all_missing)) or 2)  # decades; Plotly shows two for a single value
    names = ["100" if tick == _LEAST else f"{100 - tick:.4g}" for tick in ticks]
    return made, {"type": "log", "autorange": "reversed", "tickvals": ticks, "ticktext": names}


def _ticks(decades: float) -> list[float]:
    """Ticks in percent missing, far enough apart that their labels don't overlap."""
    wanted = [90.0, *(float(f"{digit * scale:g}") for digit in _DIGITS for scale in (10, 1, 0.1, 0.01))]
    kept: list[float] = []
    for tick in wanted:
        if tick <= 90 and all(abs(math.log10(tick / other)) >= _APART * decades for other in kept):
            kept.append(tick)
    return sorted(kept, reverse=True)


def bars(
    caption: Content,
    x: Values,
    y: Values,
    labels: tuple[str, str],
    *,
    number: int = 0,
    height: int = 200,
    x_axis: Mapping[str, Any] | None = None,
    y_axis: Mapping[str, Any] | None = None,
    x_lines: Sequence[float] = (),
) -> Html:
    """Bars, such as a histogram's, at x with heights y, and dashed lines at `x_lines`.

    `labels` are the titles of the axes, with units.
    """
    trace = {"type": "bar", "x": x, "y": y, "marker": {"color": colour(number)}, "hoverinfo": "x+y"}
    shapes = [shape for at in x_lines for shape in _upright(at)]
    layout = {"xaxis": _axis(labels[0], x_axis), "yaxis": _axis(labels[1], y_axis), "bargap": 0.05, "shapes": shapes}
    return figure(caption, f"Chart: {labels[1]} over {labels[0]}.", [trace], layout, height)


def dots(
    caption: Content,
    categories: Sequence[str],
    groups: Mapping[str, Values],
    y: str,
    *,
    height: int = 320,
    y_axis: Mapping[str, Any] | None = None,
) -> Html:
    """A marker of every group for each category. Unlike bars, they make sense on a logarithmic axis."""
    traces, legend = [], []
    for number, (name, values) in enumerate(groups.items()):
        symbol = SYMBOLS[number % len(SYMBOLS)]
        one = Series(name, categories, values, number, "markers", symbol=symbol)
        trace = _line(one, f"g{number}")
        traces.append(trace | {"marker": trace["marker"] | {"size": 13}})
        legend.append(Entry(name, f"g{number}", number, symbol, line=False))
    layout = {"xaxis": {"type": "category"}, "yaxis": _axis(y, y_axis)}
    return figure(caption, f"Chart: {y}, by {', '.join(groups)}.", traces, layout, height, legend)


def heat(caption: Content, values: np.ndarray, names: Sequence[str], x: str, y: str, *, height: int = 480) -> Html:
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
    return figure(caption, f"Matrix: {y} by {x}.", [trace], axes, height)


def figure(
    caption: Content,
    description: str,
    traces: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any],
    height: int = 320,
    legend: Iterable[Entry] = (),
) -> Html:
    """Any Plotly figure.

    Args:
        caption: shown above it.
        description: the kind of chart, for screen readers; its numbers belong in the text or a table.
        traces: Plotly's. A color `var(--name)` comes from the page's style.
        layout: Plotly's.
        height: in CSS pixels; the width fills the available room.
        legend: its entries.
    """
    entries = [element("li", _entry(entry)) for entry in legend]
    plot = element("div", class_="plot", role="img", aria_label=description, style=f"height:{height}px")
    parts = [element("figcaption", caption), *([element("ul", *entries, class_="legend")] if entries else [])]
    spec = data({"data": _escaped(traces), "layout": _escaped(layout)})
    return element("figure", *parts, plot, spec, class_="chart", needs=(PLOTLY, "charts.js"))


def thinned(x: Values, y: Values, most: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Reduces a long line to at most `most` points, each the mean of its neighborhood."""
    size = -(-len(x) // most) if len(x) else 1
    starts = np.arange(0, len(x), size)
    counts = np.diff(np.append(starts, len(x)))
    both = (np.asarray(values, float) for values in (x, y))
    first, second = (np.add.reduceat(values, starts) / counts if len(values) else values for values in both)
    return first, second


def _line(one: Series, group: str) -> dict[str, Any]:
    dash = _DASHES[one.number // COLOURS % len(_DASHES)]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": one.mode,
        "name": one.name,
        "x": one.x,
        "y": one.y,
        "legendgroup": group,
    }
    trace["line"] = {"color": colour(one.number), "width": one.width, "dash": dash}
    size = 11 if one.symbol == "star" else 9 if one.symbol in SYMBOLS else 5
    trace["marker"] = {"color": colour(one.number), "size": size, "symbol": one.symbol}
    trace |= {"opacity": one.opacity, "hoverlabel": {"namelength": -1}, "hoverinfo": "x+y+name"}
    return trace | ({"text": one.texts, "hoverinfo": "x+text+name"} if one.texts else {})


def _across(at: float) -> dict[str, Any]:
    line = {"color": "var(--ink)", "width": 2, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": at, "y1": at, "line": line}


def _upright(at: float) -> Iterator[dict[str, Any]]:
    """A dashed line, on top of one in the page's color that makes it visible on bars."""
    place = {"type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1}
    yield {**place, "line": {"color": "var(--paper)", "width": 5}}
    yield {**place, "line": _across(at)["line"]}


def _axis(title: str, more: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"title": {"text": title}, **(more or {})}


def _entry(one: Entry) -> Html:
    kind = ("solid", "dashed", "dotted")[min(one.number // COLOURS, 2)]
    line = element("span", class_="swatch", style=f"border-top:3px {kind} {colour(one.number)}")
    mark = element("span", class_=f"mark {one.symbol}", style=f"background:{colour(one.number)}")
    shown = [*([line] if one.line else []), *([mark] if one.symbol in SYMBOLS else [])]
    return element("button", *shown, one.name, type="button", aria_pressed="true", data_group=one.group)


def _escaped(spec: Any) -> Any:
    """Escapes the text in a figure, so Plotly shows it literally."""
    if isinstance(spec, Html):
        return spec.text
    if isinstance(spec, str):
        return html.escape(spec, quote=False)
    if isinstance(spec, Mapping):
        return {key: _escaped(value) for key, value in spec.items()}
    if isinstance(spec, (list, tuple)):
        return [_escaped(value) for value in spec]
    return spec
