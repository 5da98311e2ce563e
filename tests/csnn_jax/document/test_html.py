"""Single-file pages: text is escaped, and nothing is loaded."""

import html
import json
import re
import subprocess
import sys

import numpy as np
from refusals import assert_refused

from csnn_jax.document import html as page
from csnn_jax.document.html import Section

HOSTILE = "a <script>alert('1')</script> & \"b\" </style> <b>"


def document(*contents, title="A title") -> str:
    return page.document(title, ["What it is."], [Section("First", contents)], "a program")


def test_text_is_escaped():
    parts = (HOSTILE, page.paragraph(HOSTILE), page.table(HOSTILE, (HOSTILE, "b"), [(HOSTILE, HOSTILE)]))
    text = document(*parts, page.listing(HOSTILE, HOSTILE), title=HOSTILE)
    assert text.count(html.escape(HOSTILE)) == 10  # except the heading, which may break after a slash
    assert "<script" not in text and "<b>" not in text and '"b"' not in text


def test_data_cannot_end_their_script():
    name = HOSTILE + "<!--\u2028"
    value = {"name": name, "values": np.array([1.0, np.nan, np.inf]), "third": 1 / 3, "n": np.int64(3)}
    text = page.data(value).text
    found = re.fullmatch(r'<script type="application/json">(.*)</script>', text)[1]
    assert "<" not in found and "\u2028" not in found
    expected = {"name": name, "values": [1.0, None, None], "third": 0.33333, "n": 3}
    assert json.loads(found) == expected


def test_a_page_loads_nothing():
    assert html.escape("default-src 'none';") in document("a")


def test_without_plotly_the_extra_is_named():
    code = (
        "import sys; sys.modules['plotly'] = None; from csnn_jax.report.__main__ import main; sys.exit(main(['run']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert_refused(done, "plotly", "`pip install 'csnn-jax[report]'`")
