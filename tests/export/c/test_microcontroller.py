"""The program on an emulated Cortex-M7, built by the page's own commands, prints the golden counts."""

import shutil

import microcontroller
import pytest

needed = [name for name in ("arm-none-eabi-gcc", "qemu-system-arm") if not shutil.which(name)]


@pytest.mark.slow
@pytest.mark.skipif(bool(needed), reason=f"no {' and no '.join(needed)}")
@pytest.mark.parametrize("name", ["csnn", "csnn_int8"])
def test_a_cortex_m7_counts_the_golden_spikes(small_bundle, tmp_path, name):
    shutil.copytree(small_bundle, tmp_path / "small")
    found = microcontroller.on_device(tmp_path, name)
    assert found["fits_board"] and found["counts_equal"] and found["images"] == 10
    assert all(1e4 < count < 1e8 for count in found["instructions"]), found["instructions"]
    assert found["network_flash"] < found["program_flash"] < 4e6
    assert found["program_flash"] == (tmp_path / "mcu/csnn.bin").stat().st_size  # .data behind the code, and no gap
    expected = tmp_path / "small/golden/c" / ("expected.txt" if name == "csnn" else "expected_int8.txt")
    expected.write_text(expected.read_text().replace("counts 0", "counts 1", 1))
    with pytest.raises(RuntimeError):
        microcontroller.on_device(tmp_path, name)
