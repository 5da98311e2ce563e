"""report.html: it says what report.md says, draws what the manifest holds, and is text where a name is hostile."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import VIEWS, axe, opened

from export import manifest
from export.report import text, webpage

HOSTILE = """<script>document.title = 'taken'</script> "quoted" & <b>bold</b>"""
DRAWN = "html[data-charts=drawn]"


class Reader(HTMLParser):
    """What a reader sees of a page, and the specifications of its charts."""

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


def squeezed(value: str) -> str:
    """Letters and digits alone, for markup is dots and bars."""
    return re.sub(r"[^A-Za-z0-9]", "", value)


def test_the_page_says_what_the_report_says(small_bundle):
    report, page = (small_bundle / "report.md").read_text(), Reader((small_bundle / "report.html").read_text())
    seen = squeezed(page.text)
    report = re.sub(r"\]\(https://\S+?\)|<!-- \w+ -->|```python", "", report)  # targets of links, names of programs
    for line in report.splitlines():
        for cell in line.split(" | ") if "report.html" not in line else ():
            assert squeezed(cell) in seen, cell


def test_charts_draw_what_the_manifest_holds(small_bundle):
    recorded = manifest.read(small_bundle)
    charts = Reader((small_bundle / "report.html").read_text()).charts
    drawn = {trace["name"]: trace["y"] for chart in charts for trace in chart["data"] if "name" in trace}
    step = recorded["proof"]["step.onnx"]["onnxruntime"]["stepwise"]["max_difference_by_layer"]
    (name,) = (name for name in drawn if name.startswith("step.onnx, ") and "ONNX Runtime" in name)
    equal = {layer for layer, difference in enumerate(step) if not difference}  # a logarithm has no place for 0
    assert {layer for layer, shown in enumerate(drawn[name]) if shown is None} == equal != {0, 1, 2}
    assert [shown or 0 for shown in drawn[name]] == pytest.approx(step, rel=1e-4)
    sizes, *_ = charts
    shown = dict(zip(sizes["data"][0]["x"], sizes["data"][0]["y"], strict=True))
    assert shown["step.onnx"] == pytest.approx(recorded["files"]["step.onnx"]["bytes"] / 1e6, rel=1e-4)
    weights, biases = 4 * 9 + 16 * 196 * 4 + 10 * 16, 4 + 16 + 10
    assert shown["c/"] == pytest.approx(4 * (weights + biases) / 1e6)  # in flash, not the text of the headers
    assert shown["c/weights_int8.h"] == pytest.approx((weights + 4 * biases + 4 * biases) / 1e6)
    assert len(charts) == 5


@pytest.mark.parametrize(("name", "times"), [("small_bundle", [1, 6, 6]), ("spikes", [7, 7])])
def test_dense_operations_count_a_held_image_once_as_those_with_spikes_do(request, name, times):
    bundle = request.getfixturevalue(name)
    charts = Reader((bundle / "report.html").read_text()).charts
    (drawn,) = (trace["y"] for chart in charts for trace in chart["data"] if trace.get("name") == "computed densely")
    layers = manifest.read(bundle)["numbers"]["layers"]
    assert drawn == [one["dense_macs_per_step"] * count for one, count in zip(layers, times, strict=True)]
    assert all(most >= one["synaptic_operations_first_layer_once"] for one, most in zip(layers, drawn, strict=True))


def test_no_title_calls_a_network_ready(small_bundle):
    """Whatever its accuracy is, which the text below states."""
    title = Reader(webpage.render(manifest.read(small_bundle))).text.split("Contents")[0]
    assert "as files that run elsewhere" in title and "ready" not in title


def test_files_that_differ_alike_share_a_line(small_bundle):
    recorded = manifest.read(small_bundle)
    recorded["proof"]["step_b1.onnx"]["onnxruntime"] = recorded["proof"]["step.onnx"]["onnxruntime"]
    charts = Reader(webpage.render(recorded)).charts
    names = [trace["name"] for chart in charts for trace in chart["data"] if "name" in trace]
    (shared,) = (name for name in names if "step_b1.onnx" in name)
    assert "step.onnx, step_b1.onnx, ONNX Runtime" in shared and len(names) == len(set(names))


def test_every_file_of_the_folder_is_named(any_bundle):
    page = (any_bundle / "report.html").read_text()
    (caption, rows) = re.findall(r"<caption>(Every file of this folder.*?)</caption>(.*?)</table>", page, re.S)[0]
    named = {*re.findall(r'<th scope="row"><code>(.*?)</code>', rows), *re.findall(r"report\.\w+", caption)}
    there = {f"{path.name}/" if path.is_dir() else path.name for path in any_bundle.iterdir()}
    assert named - {"golden/c/", "c/weights_int8.h"} == there


def test_flags_in_the_head_are_code(spikes):
    page = (spikes / "report.html").read_text()
    head = page[page.index("<header>") : page.index("</header>")]
    assert "<code>--reset zero</code>" in head and "<code>--quick</code>" in head


def test_a_page_follows_from_its_manifest_alone(any_bundle):
    recorded = manifest.read(any_bundle)
    assert webpage.render(recorded) == (any_bundle / "report.html").read_text()
    assert f'content="{webpage.maker()}"' in (any_bundle / "report.html").read_text()[:1024]


def test_a_page_contains_no_path_of_the_machine(spikes):
    page = (spikes / "report.html").read_text()
    assert str(spikes.parent) in (spikes / "report.md").read_text()  # the data set's folder
    for path in (spikes.parent, spikes.parent.parent, Path.cwd(), Path.home(), Path(sys.prefix)):
        assert str(path) not in page or len(path.parts) < 2, path


def hostile(recorded: dict) -> dict:
    """The manifest with markup wherever a name could hold it."""
    recorded = json.loads(json.dumps(recorded))
    recorded["data"]["dataset"] = f"tfds:{HOSTILE}"
    recorded["made"]["cpu"] = HOSTILE
    recorded["targets"][0] |= {"name": HOSTILE, "note": "[a](javascript:alert(1))"}
    for part in (recorded["numbers"]["layers"], recorded["semantics"]["layers"]):
        part[0]["name" if "name" in part[0] else "layer"] = HOSTILE
    return recorded


def test_hostile_names_are_shown_as_text(small_bundle):
    page = webpage.render(hostile(manifest.read(small_bundle)))
    assert "<b>bold" not in page and "<script>document" not in page and 'href="javascript' not in page
    assert Reader(page).text.count(HOSTILE) >= 5


def test_every_section_that_gets_a_chart_or_a_caption_is_there():
    assert {*webpage._CHARTS, *webpage._CAPTIONS} <= set(text.SECTIONS)


@pytest.mark.parametrize("width, scheme", VIEWS)
def test_a_page_opens_anywhere(small_bundle, width, scheme):
    path = small_bundle / "report.html"
    with opened(path, width=width, scheme=scheme) as visit:
        visit.page.wait_for_selector(DRAWN, state="attached")
        assert visit.errors == [] and visit.requests == [path.as_uri()]
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width
        assert visit.page.locator(".plot .main-svg:first-child").count() == 5
        beyond = "[...document.querySelectorAll('td')].filter(e => e.getBoundingClientRect().right > innerWidth).length"
        assert visit.page.evaluate(beyond) == 0
        assert axe(visit.page) == [] and visit.errors == []


@pytest.mark.slow
def test_hostile_names_do_nothing_in_a_browser(small_bundle, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(webpage.render(hostile(manifest.read(small_bundle))))
    with opened(path) as visit:
        visit.page.wait_for_selector(DRAWN, state="attached")
        assert visit.errors == [] and "taken" not in visit.page.title()[:5]
        assert visit.page.locator("b").count() == 0 and HOSTILE in visit.page.locator("h1").inner_text()
