"""The pages of docs/deploy: one for each tool that was tried, with the versions and results of its recorded output."""

import json
import re
from pathlib import Path

import pytest
from documents import PAGES, ROOT, links, marked, read

OUTPUTS = sorted((ROOT / "results/targets").glob("*.json"))


def page_of(output: Path) -> str:
    """The page that links to an output."""
    (page,) = [page for page in PAGES if page.startswith("docs/deploy/") and output.name in " ".join(links(read(page)))]
    return page


def test_every_tool_has_a_page_of_its_own() -> None:
    pages = {page_of(output) for output in OUTPUTS}
    others = {"docs/deploy/microcontroller.md"}  # a compiler, not a tool that reads files; see benchmarks
    assert len(pages) == len(OUTPUTS) and pages | others == {page for page in PAGES if page.startswith("docs/deploy/")}
    overview = links(read("docs/deploy.md"))
    assert [page for page in pages if page.removeprefix("docs/") not in overview] == []


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda path: path.stem)
def test_the_commands_are_those_that_were_run(output: Path) -> None:
    recorded, page = json.loads(output.read_text()), page_of(output)
    (block,) = marked(page, "not run: installs a tool of others")
    pinned = {f"{package}=={version.partition('+')[0]}" for package, version in recorded["versions"].items()}
    assert pinned <= set(block.text.split())
    assert recorded["command"].removeprefix("python ").replace("BUNDLE", "bundle") in block.text
    assert ("--pool avg --reset zero" in block.text) == (recorded["network"]["reset"] == "zero")


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda path: path.stem)
def test_the_results_are_those_that_were_recorded(output: Path) -> None:
    rows = [line for line in read(page_of(output)).splitlines() if line.startswith("|")]
    for trial in json.loads(output.read_text())["trials"]:
        if "refused" in trial:
            said = f'refused: "{trial["refused"].partition(": ")[2][:40]}'
        elif "different_spikes" in trial:
            different, spikes = map(int, re.fullmatch(r"(\d+) of (\d+)", trial["different_spikes"]).groups())
            said = f"| {different} of {spikes:,} "
        else:
            continue
        of_file = [row for row in rows if f"`{trial['file']}`" in row or "the same" in row or "compiler" in row]
        assert any(said in row for row in of_file), trial
