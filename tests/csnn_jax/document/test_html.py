"""Single-file pages: text is escaped, and nothing is loaded."""

import json
import re
import subprocess
import sys
from html import escape

import numpy as np
from refusals import assert_refused

from csnn_jax.document import html
from csnn_jax.document.blocks import (
    Code,
    Document,
    Folded,
    Items,
    Listing,
    Paragraph,
    Picture,
    Scored,
    Section,
    Shaded,
    Strong,
    Table,
)

HOSTILE = "a <script>alert('1')</script> & \"b\" </style> <b>"


def test_text_is_escaped():
    blocks = [
        Paragraph((HOSTILE, Code(HOSTILE), Strong((HOSTILE, Code(HOSTILE))))),
        Table(HOSTILE, (HOSTILE, HOSTILE), [(HOSTILE, Shaded(HOSTILE, 0.5, HOSTILE))], stacks=True),
        Items((HOSTILE,)),
        Listing(HOSTILE, HOSTILE),
        Folded(HOSTILE, [Section(HOSTILE, [])]),
        Scored(Picture(b"", HOSTILE), [(HOSTILE, 1.0, HOSTILE)], HOSTILE, HOSTILE),
    ]
    text = html.render(Document(HOSTILE, [Paragraph(HOSTILE)], [Section(HOSTILE, blocks)]), HOSTILE)
    assert text.count(escape(HOSTILE)) == 27  # except the heading, which may break after a slash
    assert "<script" not in text and "<b>" not in text and '"b"' not in text


def test_data_cannot_end_their_script():
    name = HOSTILE + "<!--\u2028"
    value = {"name": name, "values": np.array([1.0, np.nan, np.inf]), "third": 1 / 3, "n": np.int64(3)}
    text = re.fullmatch(r'<script type="application/json">(.*)</script>', html.data(value))[1]
    assert "<" not in text and "\u2028" not in text
    expected = {"name": name, "values": [1.0, None, None], "third": 0.33333, "n": 3}
    assert json.loads(text) == expected


def test_a_page_loads_nothing():
    assert escape("default-src 'none';") in html.render(Document("A title", [], []), "a program")


def test_columns_of_numbers_are_aligned():
    rows = [("a", "1,000", "x|y", None), ("b", (Strong("2"), " kB"), "3", 1200)]
    text = html.blocks([Table("Caption", ("name", "n", "text", "m"), rows)])
    assert re.findall(r'<td class="number">(.*?)</td>', text) == ["1,000", "-", "<strong>2</strong> kB", "1,200"]


def test_bars_of_negative_scores_go_down():
    scores = [(str(number), score, "--ink") for number, score in enumerate((3.0, -1.0, 0.5, 0.0))]
    text = html.blocks([Scored(Picture(b"", "a picture"), scores, "spoken", "caption")])
    bars = re.findall(r'<rect x="\d+" y="([^"]*)" width="6" height="([^"]*)"', text)
    assert bars == [("2.0", "46.0"), ("47.0", "16.0"), ("39.5", "8.5"), ("47.0", "1.0")]


def test_without_plotly_the_extra_is_named():
    code = (
        "import sys; sys.modules['plotly'] = None; from csnn_jax.report.__main__ import main; sys.exit(main(['run']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert_refused(done, "plotly", "`pip install 'csnn-jax[report]'`")
