"""The program on an emulated Cortex-M7, built by the page's own commands, prints the golden counts."""

import json
import shutil

import microcontroller
import pytest
from documents import ROOT, read

PAGE = "docs/deploy/microcontroller.md"
needed = [name for name in ("arm-none-eabi-gcc", "qemu-system-arm") if not shutil.which(name)]


@pytest.mark.slow
@pytest.mark.skipif(bool(needed), reason=f"no {' and no '.join(needed)}")
@pytest.mark.parametrize("name", ["csnn", "csnn_int8"])
def test_a_cortex_m7_counts_the_golden_spikes(any_bundle, tmp_path, name):
    shutil.copytree(any_bundle, tmp_path / "small")
    found = microcontroller.on_device(tmp_path, name)
    assert found["fits_board"] and found["counts_equal"] and found["images"] == 10
    assert all(1e4 < count < 1e8 for count in found["instructions"]), found["instructions"]
    assert found["network_flash"] < found["program_flash"] < 4e6
    expected = tmp_path / "small/golden/c" / ("expected.txt" if name == "csnn" else "expected_int8.txt")
    expected.write_text(expected.read_text().replace("counts 0", "counts 1", 1))
    with pytest.raises(RuntimeError):
        microcontroller.on_device(tmp_path, name)


def test_the_figures_of_the_page_are_those_that_were_recorded():
    recorded = json.loads((ROOT / "results/microcontroller.json").read_text())
    assert microcontroller.table(recorded["rows"]) in read(PAGE)
    assert all(row["counts_equal"] for row in recorded["rows"] if row["fits_board"])
