"""report.html says what report.md says, draws the manifest's data, and shows hostile names as text."""

import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import WIDTHS, axe, opened

from export import manifest
from export.report import text

HOSTILE = """<script>document.title = 'taken'</script> "quoted" & <b>bold</b>"""


class Reader(HTMLParser):
    """A page as readers see it, and the specifications of its charts."""

    def __init__(self, page: str):
        super().__init__()
        self.text, self.charts, self._inside = "", [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self._inside = dict(attributes).get("type") or tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "application/json":
            self.charts.append(json.loads(data))
        elif self._inside not in ("script", "style"):
            self.text += data


def test_charts_show_the_manifests_data(small_bundle):
    recorded = manifest.read(small_bundle)
    charts = Reader((small_bundle / "report.html").read_text()).charts
    sizes, *_ = charts
    shown = dict(zip(sizes["data"][0]["x"], sizes["data"][0]["y"], strict=True))
    assert shown["step.onnx"] == pytest.approx(recorded["hashes"]["step.onnx"]["bytes"] / 1e6, rel=1e-4)
    flash = recorded["results"]["files"]["c/"]["memory"]["constant_bytes"]
    assert shown["c/"] == pytest.approx(flash / 1e6)  # without the headers' text
    assert len(charts) == 4


def test_dense_operations_count_a_constant_image_once_like_those_on_spikes(any_bundle):
    charts = Reader((any_bundle / "report.html").read_text()).charts
    (drawn,) = (trace["y"] for chart in charts for trace in chart["data"] if trace.get("name") == "computed densely")
    layers = manifest.read(any_bundle)["results"]["numbers"]["layers"]
    if len(layers) == 3 and layers[0]["name"] == "first":
        weights = 3 * 16 * 81, 3 * 4 * 81  # of image1, at 9 x 9 positions, and of feedback
        assert drawn[0] == weights[0] + 5 * weights[1]
    else:
        times = [1, 6, 6] if len(layers) == 3 else [7, 7]
        assert drawn == [one["dense_macs_per_step"] * count for one, count in zip(layers, times, strict=True)]
    assert all(most >= one["synaptic_operations_first_layer_once"] for one, most in zip(layers, drawn, strict=True))


def hostile(recorded: dict) -> dict:
    """The manifest with markup in every value that could be a name."""
    recorded = json.loads(json.dumps(recorded))
    results, recorded["statements"]["made"]["cpu"] = recorded["results"], HOSTILE
    results["job"]["dataset"] = f"tfds:{HOSTILE}"
    results["targets"][0] |= {"name": HOSTILE, "note": "[a](javascript:alert(1))"}
    for part in (results["numbers"]["layers"], results["semantics"]["layers"]):
        part[0]["name" if "name" in part[0] else "layer"] = HOSTILE
    return recorded


def test_hostile_names_are_shown_as_text(small_bundle):
    page = text.page(hostile(manifest.read(small_bundle)))
    assert "<b>bold" not in page and "<script>document" not in page and 'href="javascript' not in page
    assert Reader(page).text.count(HOSTILE) >= 5


def test_a_page_depends_on_its_manifest_alone_and_names_no_folder(spikes):
    page = (spikes / "report.html").read_text()
    assert text.page(manifest.read(spikes)) == page
    assert str(spikes.parent) in (spikes / "report.md").read_text()  # the data set's folder
    for path in (spikes.parent, Path.cwd(), Path.home(), Path(sys.prefix)):
        assert str(path) not in page or len(path.parts) < 2, path


@pytest.mark.slow
def test_a_page_opens_on_a_phone_and_hostile_names_do_nothing(small_bundle, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(text.page(hostile(manifest.read(small_bundle))))
    with opened(path, width=min(WIDTHS)) as visit:
        visit.page.wait_for_selector("html[data-charts=drawn]", state="attached")
        assert visit.errors == [] and visit.requests == [path.as_uri()]
        assert visit.page.locator(".plot .main-svg:first-child").count() == 4
        assert visit.page.locator("b").count() == 0 and HOSTILE in visit.page.locator("h1").inner_text()
        assert axe(visit.page) == []
