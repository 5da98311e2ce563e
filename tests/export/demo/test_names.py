"""Names of classes on the page, in a real browser: whole where they fit, and never wider than the page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import WIDTHS, opened
from demos import served

pytestmark = pytest.mark.slow

FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
LONG = ["a long name " * 5, "b" * 70, 'it\'s "7" & more', "a" * 60, *"456789"]
PATIENCE = 120_000  # milliseconds, for a machine that is busy with other tests


@contextmanager
def answered(folder: Path, width: int) -> Iterator[Any]:
    """The page of a demonstration once a test image has its answer."""
    with served(folder) as address, opened(address, width) as visit:
        visit.page.set_default_timeout(PATIENCE)
        visit.page.get_by_role("button", name="Test image 3: ").click()
        visit.page.get_by_role("button", name="Play again").wait_for()
        yield visit.page
        assert visit.errors == []


@pytest.mark.parametrize("width", [WIDTHS[0], pytest.param(WIDTHS[1], marks=pytest.mark.rare)])
def test_names_are_broken_only_where_nothing_else_fits(width, small_bundle, demonstration):
    lines = "e => e.clientHeight / parseFloat(getComputedStyle(e).fontSize)"
    with answered(demonstration(small_bundle, FASHION), width) as page:
        for kind in (".name", "#samples span", "#answer"):
            found = page.evaluate(f"kind => [...document.querySelectorAll(kind)].map({lines})", kind)
            assert found and max(found) < 2, f"{kind}: a second line"


@pytest.mark.parametrize("width", [WIDTHS[0], pytest.param(WIDTHS[1], marks=pytest.mark.rare)])
def test_long_names_fit(width, small_bundle, demonstration):
    with answered(demonstration(small_bundle, LONG), width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
