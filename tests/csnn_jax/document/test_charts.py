"""Charts as Plotly figures: names are escaped, long lines are thinned, accuracies stretched."""

import json
import re
from html import escape

import numpy as np
import pytest

from csnn_jax.document import charts, html
from csnn_jax.document.blocks import Chart
from csnn_jax.document.charts import Series

HOSTILE = "<script>alert(1)</script><b>&amp;"


def spec(chart: Chart) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html.blocks([chart]))[1])


def test_plotly_gets_names_without_markup():
    chart = charts.lines(HOSTILE, [Series(HOSTILE, [0, 1], [1, 2]), Series("b", [0], [1], 1)], HOSTILE, "y")
    figure = spec(chart)
    shown = escape(HOSTILE, quote=False)
    assert [trace["name"] for trace in figure["data"]] == [shown, "b"]
    assert figure["layout"]["xaxis"]["title"]["text"] == shown
    text = html.blocks([chart])
    assert HOSTILE not in text and "<script>" not in text.replace('<script type="application/json">', "")
    heat = spec(charts.heat("caption", np.eye(2), [HOSTILE, "b"], "x", "y"))
    assert heat["data"][0]["x"] == [shown, "b"] and heat["data"][0]["z"] == [[1, 0], [0, 1]]
    dots = spec(charts.dots("caption", [HOSTILE], {HOSTILE: [1.0]}, "y"))
    assert (dots["data"][0]["name"], dots["data"][0]["x"]) == (shown, [shown])


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


def test_a_short_range_of_accuracies_has_several_ticks():
    for values, ticks in (([0.2, 0.32], ["20", "25", "30"]), ([0.7993, 0.8013], ["79.95", "80", "80.05", "80.1"])):
        _, axis = charts.stretched([Series("a", [0, 1], values)])
        assert axis["ticktext"] == ticks
