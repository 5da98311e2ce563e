"""A real browser: Debian's chromium, driven by Playwright. Without it, tests are skipped with a reason.

with opened(tmp_path / "report.html", width=390, scheme="dark") as visit:
    visit.page.get_by_role("button", name="Play").click()
    assert visit.errors == [] and axe(visit.page) == []
    visit.page.screenshot(path="page.png", full_page=True)
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from export.demo import npm

CHROMIUM = Path("/usr/bin/chromium")
WIDTHS = (390, 1280)
"""A phone's and a computer's, in CSS pixels."""
HEIGHT = 800
AXE = npm.Package("axe-core", "4.14.1", "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745")
GRAVE = ("serious", "critical")


@dataclass
class Visit:
    """A page and what has happened on it so far.

    Attributes:
        page: Playwright's page.
        errors: console errors and uncaught exceptions.
        requests: requested addresses, starting with the page's own.
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(address: str | Path, width: int = 1280, scheme: str = "light", **options: Any) -> Iterator[Visit]:
    """Opens a page and waits until it has loaded; the browser exits with the block.

    Args:
        address: a URL or a file.
        width: of the window, in CSS pixels.
        scheme: "light" or "dark".
        options: more arguments of Playwright's `new_context`: has_touch, reduced_motion, java_script_enabled, ...
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium")
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            view = {"width": width, "height": HEIGHT}
            context = browser.new_context(**({"viewport": view, "color_scheme": scheme} | options))
            visit = Visit(context.new_page())
            _listen(visit)
            visit.page.goto(address.resolve().as_uri() if isinstance(address, Path) else address)
            yield visit
        finally:
            browser.close()


def _listen(visit: Visit) -> None:
    def note(message: Any) -> None:
        if message.type == "error":
            visit.errors.append(message.text)

    visit.page.on("console", note)
    visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
    visit.page.on("request", lambda request: visit.requests.append(request.url))


def axe(page: Any) -> list[str]:
    """The issues on a page that axe-core rates serious or critical, one line for each place."""
    if shutil.which("npm") is None:
        pytest.skip("no npm: apt-get install npm")
    source = npm.read(npm.fetch(AXE), ["axe.min.js"])["axe.min.js"].decode()
    page.evaluate(source)
    audit = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['impact']}: {rule['id']}: {node['target']}: {' '.join(node['failureSummary'].split())}"
        for rule in audit["violations"]
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]
