"""Pages of one file: what is text stays text, what is needed is there once, and the parts can be told apart."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from csnn_jax.report import page
from csnn_jax.report.page import Html, Section

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


def test_attributes_are_escaped_and_zero_is_a_value():
    found = page.element("option", "x", value=0, class_='"a"', hidden=True, selected=False, lang=None)
    assert found.text == '<option value="0" class="&quot;a&quot;" hidden>x</option>'
    assert page.element("img", alt="").text == '<img alt="">'


def test_what_is_needed_is_there_once():
    chart = page.element("p", "x", needs=("charts.js",))
    text = document(chart, page.grid([chart, chart]))
    assert text.count("Draws the charts of a page") == 1
    assert "Plays spikes" not in text


def test_a_page_has_landmarks_and_a_list_of_its_sections():
    sections = [Section("Same", ("a",)), Section("Same", ("b",)), Section("\u6570", ("c",))]
    read = Reader(page.document("Title", ["Lead."], sections, "p"))
    tags = {tag for tag, _ in read.tags}
    assert {"header", "nav", "main", "footer", "h1"} <= tags
    names = [heading["id"] for heading in read.all("h2")]
    assert len(set(names)) == 3 and all(names)
    links = [link["href"] for link in read.all("a")]
    assert links == ["#content", *(f"#{name}" for name in names)]


def test_a_page_may_load_nothing():
    (policy,) = [meta for meta in Reader(document("a")).all("meta") if meta.get("http-equiv")]
    assert "default-src 'none'" in policy["content"]


def test_a_page_knows_who_made_it():
    text = document("a")
    assert page.is_made_by("a program", text[:1024])
    assert not page.is_made_by("another", text[:1024])
    assert not page.is_made_by("a program", "<p>a program</p>")


def test_columns_of_numbers_stand_right():
    rows = [("a", 12345, "1.5 %", "3 of 4", Html("<span>7</span>")), ("b", None, "-2.1%", "4", Html("<span>8</span>"))]
    read = Reader(page.table("numbers", ("n", "v", "w", "x", "y"), rows).text)
    assert [cell.get("class") for cell in read.all("th")[:5]] == [None, "number", "number", None, "number"]
    assert "12,345" in read.text and [cell["scope"] for cell in read.all("th")] == ["col"] * 5 + ["row"] * 2


def test_a_table_may_have_no_rows():
    assert Reader(page.table("empty", ("a", "b"), []).text).text == "emptyab"


def test_cells_of_a_table_that_stacks_know_their_columns():
    rows = [("a", 1, "x"), ("b", None, "y")]
    read = Reader(page.table("t", ("n", "v", "w"), rows, stacks=True).text)
    assert [cell["data-name"] for cell in read.all("td")] == ["v", "w"] * 2
    assert read.all("table") == [{"class": "stacks"}]
    assert "data-name" not in page.table("t", ("n", "v", "w"), rows).text


def test_lines_of_a_program_stay_whole():
    assert '<pre class="breaks">' in page.listing("a long command", "label").text
    assert "<pre>" in page.listing("one\ntwo", "label").text


def test_a_picture_has_words():
    found = page.picture(b"abc", "An <image>", "below", 7)
    (image,) = Reader(found.text).all("img")
    assert (image["alt"], image["src"], image["width"]) == ("An <image>", "data:image/png;base64,YWJj", "7")


def test_without_plotly_the_extra_is_named():
    code = (
        "import sys; sys.modules['plotly'] = None; from csnn_jax.report.__main__ import main; sys.exit(main(['run']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*plotly.*expected `pip install 'csnn-jax\[report\]'`\n", done.stderr)


@pytest.mark.parametrize("name", ["page.css", "player.css", "charts.js", "player.js"])
def test_styles_and_scripts_can_stand_within_a_page(name):
    text = page._asset(name).lower()
    assert "</script" not in text and "</style" not in text and "http" not in text
