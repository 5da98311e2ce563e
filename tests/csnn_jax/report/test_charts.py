"""Charts as Plotly figures: its markup does not get through, long lines are thinned, accuracies stretched."""

import html
import json
import re

import numpy as np
import pytest

from csnn_jax.report import charts
from csnn_jax.report.charts import Series
from csnn_jax.report.page import Html

HOSTILE = "<script>alert(1)</script><b>&amp;"


def spec(chart: Html) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', chart.text)[1])


def test_plotly_gets_names_without_markup():
    found = charts.lines(HOSTILE, [Series(HOSTILE, [0, 1], [1, 2]), Series("b", [0], [1], 1)], HOSTILE, "y")
    figure = spec(found)
    shown = html.escape(HOSTILE, quote=False)
    assert [trace["name"] for trace in figure["data"]] == [shown, "b"]
    assert figure["layout"]["xaxis"]["title"]["text"] == shown
    assert HOSTILE not in found.text and "<script>" not in found.text.replace('<script type="application/json">', "")
    heat = spec(charts.heat("caption", np.eye(2), [HOSTILE, "b"], "x", "y"))
    assert heat["data"][0]["x"] == [shown, "b"] and heat["data"][0]["z"] == [[1, 0], [0, 1]]
    dots = spec(charts.dots("caption", [HOSTILE], {HOSTILE: [1.0]}, "y"))
    assert (dots["data"][0]["name"], dots["data"][0]["x"]) == (shown, [shown])


def test_markup_that_is_meant_gets_through():
    figure = spec(charts.figure("caption", "words", [{"name": Html("<i>a</i>")}], {}))
    assert figure["data"][0]["name"] == "<i>a</i>"


def test_equal_names_are_one_entry_of_the_legend():
    series = [Series("a", [0], [1], 2), Series("a", [1], [2], 2, "markers"), Series("b", [0], [1], 9)]
    found = charts.lines("caption", series, "x", "y")
    assert [trace["legendgroup"] for trace in spec(found)["data"]] == ["g0", "g0", "g1"]
    assert re.findall(r'data-group="(\w+)"', found.text) == ["g0", "g1"]
    assert "legend" not in charts.lines("caption", series[:2], "x", "y").text.replace("legendgroup", "")


def test_more_series_than_colours_have_other_dashes():
    series = [Series(str(number), [0], [1], number) for number in range(2 * charts.COLOURS)]
    lines = [trace["line"] for trace in spec(charts.lines("caption", series, "x", "y"))["data"]]
    assert len({(line["color"], line["dash"]) for line in lines}) == len(series)


def test_a_gap_stays_one():
    assert spec(charts.lines("c", [Series("a", [0, 1], [np.nan, 2.0])], "x", "y"))["data"][0]["y"] == [None, 2.0]


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 1000])
def test_thinning_keeps_the_mean(length):
    x, y = np.arange(length), np.random.default_rng(0).normal(size=length)
    thin_x, thin_y = charts.thinned(x, y, 8)
    assert len(thin_x) == len(thin_y) <= 8 and (length > 8 or (thin_y == y).all())
    if length == 1000:
        np.testing.assert_allclose([thin_x.mean(), thin_y.mean()], [x.mean(), y.mean()])


def test_accuracies_are_stretched():
    (one,), axis = charts.stretched([Series("a", [0, 1, 2], [0.1, 0.98, 1.0])])
    np.testing.assert_allclose(one.y, [90, 2, 0.01])
    assert list(one.texts) == ["10.00%", "98.00%", "100.00%"]
    names = dict(zip(axis["tickvals"], axis["ticktext"], strict=True))
    assert (names[2], names[0.5], names[0.01]) == ("98", "99.5", "100")


@pytest.mark.parametrize("least", [0.1, 0.75, 0.9, 0.98, 1.0])
@pytest.mark.parametrize("most", [0.9235, 0.983, 0.9947, 1.0])
def test_names_of_accuracies_do_not_overlap(least, most):
    (one,), axis = charts.stretched([Series("a", [0, 1], [least, most])])
    high = np.log10(max(one.y) / min(one.y)) or 2
    assert np.diff(-np.log10(axis["tickvals"])).min() >= 0.075 * high  # of some 200 pixels; a name has 12
    inside = [tick for tick in axis["tickvals"] if min(one.y) <= tick <= max(one.y)]
    assert len(inside) >= 3 or high < 0.5 or least == most


def test_a_line_across_bars_is_seen_on_them():
    halo, dashes = spec(charts.bars("caption", [0, 1], [1, 2], ("x", "y"), x_lines=(1.0,)))["layout"]["shapes"]
    assert halo["line"]["color"] == "var(--paper)" and halo["line"]["width"] > dashes["line"]["width"] >= 2
    assert (dashes["line"]["dash"], dashes["line"]["color"]) == ("dash", "var(--ink)")
    assert all((line["x0"], line["x1"], line["yref"]) == (1, 1, "paper") for line in (halo, dashes))


def test_markers_are_told_apart_without_colours():
    found = charts.dots("caption", ["a", "b"], {"one": [1, 2], "two": [3, 4]}, "y")
    symbols = [trace["marker"]["symbol"] for trace in spec(found)["data"]]
    assert symbols == ["square", "diamond"] and re.findall(r'class="mark (\w+)"', found.text) == symbols
    assert 'class="swatch"' not in found.text
