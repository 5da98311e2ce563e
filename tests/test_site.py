"""The documentation site builds, its pages open without errors, and they request nothing from other servers."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import axe, opened
from documents import PAGES, ROOT
from once import once

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs_autorefs") is None, reason="no mkdocs: pip install -e '.[docs]'"
)
OUTSIDE = re.compile(r"^(?:https?:)?//")
SHOWN = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}

GENERATED = ("reference/flags.md", "reference/support.md")


def build(folder: Path, tour: str = "on") -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "JAX_PLATFORMS": "cpu", "CSNN_TOUR": tour}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, including the executed tour."""
    return once(tmp_path_factory, "docs", build) / "site"


@pytest.mark.slow
def test_every_link_on_a_page_resolves_within_the_site(tmp_path: Path) -> None:
    """mkdocs doesn't check links within a generated page, so they're checked here."""
    build(tmp_path, tour="off")
    for page in GENERATED:
        text = (tmp_path / "site" / page).with_suffix(".html").read_text()
        assert set(re.findall(r'href="#(\S+?)"', text)) <= {"__skip", *re.findall(r'id="(\S+?)"', text)}


@pytest.mark.parametrize("page", PAGES)
def test_no_table_is_broken_by_an_empty_line(page: str) -> None:
    assert not re.search(r"^\|.*\|\n\n+\|", (ROOT / page).read_text(), re.M)


def test_every_page_is_in_the_menu() -> None:
    menu = re.findall(r"^ +- [^:]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert sorted(menu) == sorted({*pages, *SHOWN.values(), *GENERATED, "tour.md"})


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = json.loads((ROOT / "docs/tour.ipynb").read_text())["cells"]
    assert len([cell for cell in cells if cell["cell_type"] == "code"]) > 5
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.slow
def test_the_tour_shows_its_outputs(site: Path) -> None:
    text = (site / "tour.html").read_text()
    assert "Final Test Accuracy: " in text and "ok (skipped: accuracy" in text
    figures = re.findall(r'<img alt="([^"]+)" src="(tour/[^"]+\.png)"', text)
    assert len(figures) == 3 and all((site / figure).stat().st_size > 5000 for _, figure in figures)


@pytest.mark.slow
def test_every_page_opens_from_disk_without_errors(site: Path) -> None:
    """404.html is skipped: its links only work on a server."""
    with opened(site / "index.html", width=390, scheme="dark") as visit:
        for page in sorted(page for page in site.rglob("*.html") if page.name != "404.html"):
            visit.page.goto(page.as_uri())
            scrolls = visit.page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not scrolls, f"{page} is wider than the window"
        visit.page.set_viewport_size({"width": 1280, "height": 800})
        visit.page.get_by_role("textbox", name="Search").fill("surrogate gaussian")
        first = visit.page.locator(".md-search-result__link").first
        first.wait_for(state="attached")
        assert first.get_attribute("href").partition("?")[0].endswith("extend/surrogate.html")
        assert visit.errors == []
        assert [address for address in visit.requests if OUTSIDE.match(address)] == []
        visit.page.goto((site / "deploy.html").as_uri())
        assert axe(visit.page) == []  # last, because it reads styles, which pages on disk aren't allowed to
