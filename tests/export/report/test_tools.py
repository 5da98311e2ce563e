"""The table of tools: what it says is what the committed outputs of benchmarks/targets show."""

import json

import pytest
from documents import ROOT

from export import parts
from export.report.tools import Tool, running

FILES = {name for part in parts.every() for name in part.what}


@pytest.mark.parametrize("row", running(FILES), ids=lambda row: row.name)
def test_fit_is_what_the_recorded_output_shows(row: Tool) -> None:
    found = json.loads((ROOT / row.tried).read_text())
    assert (ROOT / found["command"].split()[1]).is_file()
    same = {trial["file"] for trial in found["trials"] if trial.get("different_spikes", "").startswith("0 of")}
    assert {*row.files.split(", ")} <= same and found["output_spikes"] > 100


def test_tools_of_files_that_a_bundle_lacks_are_left_out() -> None:
    names = {row.name for row in running(FILES - {"network.nir", "network_nir104.nir"})}
    assert names == {row.name for row in running(FILES) if ".nir" not in row.files} and names
