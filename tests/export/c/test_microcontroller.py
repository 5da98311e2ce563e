"""On an emulated Cortex-M7 and Cortex-M4, the program built with the page's own commands prints the golden counts."""

import shutil

import microcontroller
import pytest
from commands import call

missing = [name for name in ("arm-none-eabi-gcc", "qemu-system-arm") if not shutil.which(name)]


@pytest.mark.slow
@pytest.mark.skipif(bool(missing), reason=f"no {' and no '.join(missing)}")
@pytest.mark.parametrize(("bits", "board"), [(None, "Cortex-M7"), (8, "Cortex-M7"), (4, "Cortex-M4")])
def test_a_microcontroller_counts_the_golden_spikes(scan_run, tmp_path, bits, board):
    flags = ["--weight-bits", str(bits)] if bits else []
    done = call("export", scan_run, "--out", tmp_path / "small", "--quick", *flags)
    assert done.returncode == 0, done.stderr
    found = microcontroller.on_device(tmp_path, board)
    assert found["fits_board"] and found["counts_equal"] and found["images"] == 10
    assert all(1e4 < count < 1e8 for count in found["instructions"]), found["instructions"]
    assert found["network_flash"] < found["program_flash"] < 4e6
    assert found["program_flash"] == (tmp_path / "mcu/csnn.bin").stat().st_size  # .data follows the code without a gap
    expected = tmp_path / "small/golden/c/expected.txt"
    expected.write_text(expected.read_text().replace("counts 0", "counts 1", 1))
    with pytest.raises(RuntimeError):
        microcontroller.on_device(tmp_path, board)
