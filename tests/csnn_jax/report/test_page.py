"""Pages of one file: what is text stays text, what is needed is there once, and the parts can be told apart."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np

from csnn_jax.report import page
from csnn_jax.report.page import Section

HOSTILE = "a <script>alert('1')</script> & \"b\" </style> <b>"


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, and the text outside of scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._inside = "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def document(*contents, title="A title") -> str:
    return page.document(title, ["What it is."], [Section("First", contents)], "a program")


def test_text_is_shown_as_it_is():
    parts = (HOSTILE, page.paragraph(HOSTILE), page.table(HOSTILE, (HOSTILE, "b"), [(HOSTILE, HOSTILE)]))
    read = Reader(document(*parts, page.listing(HOSTILE, HOSTILE), title=HOSTILE))
    assert read.all("script") == [] and read.all("b") == []
    assert read.text.count(HOSTILE) == 9
    assert HOSTILE in {region["aria-label"] for region in read.all("div")}


def test_data_can_not_end_its_script():
    value = {
        "name": HOSTILE + "<!--\u2028",
        "values": np.array([1.0, np.nan, np.inf]),
        "third": 1 / 3,
        "n": np.int64(3),
    }
    text = page.data(value).text
    found = re.fullmatch(r'<script type="application/json">(.*)</script>', text)[1]
    assert "<" not in found and "\u2028" not in found
    expected = {"name": HOSTILE + "<!--\u2028", "values": [1.0, None, None], "third": 0.33333, "n": 3}
    assert json.loads(found) == expected


def test_what_is_needed_is_there_once():
    chart = page.element("p", "x", needs=("charts.js",))
    text = document(chart, page.grid([chart, chart]))
    assert text.count("Draws the charts of a page") == 1
    assert "Plays spikes" not in text


def test_a_page_may_load_nothing():
    (policy,) = [meta for meta in Reader(document("a")).all("meta") if meta.get("http-equiv")]
    assert "default-src 'none'" in policy["content"]


def test_a_page_knows_who_made_it():
    text = document("a")
    assert page.is_made_by("a program", text[:1024])
    assert not page.is_made_by("another", text[:1024])
    assert not page.is_made_by("a program", "<p>a program</p>")


def test_without_plotly_the_extra_is_named():
    code = (
        "import sys; sys.modules['plotly'] = None; from csnn_jax.report.__main__ import main; sys.exit(main(['run']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*plotly.*expected `pip install 'csnn-jax\[report\]'`\n", done.stderr)
