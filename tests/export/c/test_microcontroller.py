"""The program on an emulated Cortex-M7, built by the page's own commands, prints the golden counts."""

import json
import shutil
import subprocess

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
    assert found["program_flash"] == (tmp_path / "mcu/csnn.bin").stat().st_size  # .data behind the code, and no gap
    expected = tmp_path / "small/golden/c" / ("expected.txt" if name == "csnn" else "expected_int8.txt")
    expected.write_text(expected.read_text().replace("counts 0", "counts 1", 1))
    with pytest.raises(RuntimeError):
        microcontroller.on_device(tmp_path, name)


@pytest.fixture
def board(small_bundle, tmp_path):
    """Follows the page with a change of `device.c` or of the compiler's flags; what it printed, and its ticks."""
    shutil.copytree(small_bundle, tmp_path / "small")
    (tmp_path / "mcu").mkdir()

    def run(device: tuple[str, str] = ("", ""), flags: str = "") -> tuple[list[str], list[int]]:
        files, commands = microcontroller.blocks(read(PAGE))
        for path, text in files.items():
            (tmp_path / path).write_text(text.replace(*device) if path.endswith("device.c") else text)
        before, cmp, _ = commands.replace("$cpu -O2", f"$cpu -O2 {flags}").partition("cmp counts.txt")
        assert cmp and (flags in before)
        subprocess.run(["bash", "-euc", before], cwd=tmp_path, check=True, capture_output=True)
        counts, ticks = ((tmp_path / f"mcu/{name}.txt").read_text().splitlines() for name in ("counts", "ticks"))
        return counts, [int(line.split()[0]) for line in ticks]

    return run


@pytest.mark.slow
@pytest.mark.skipif(bool(needed), reason=f"no {' and no '.join(needed)}")
def test_time_goes_on_where_the_timer_wraps(board):
    """With a period of 1,000 ticks each image takes several, and as long as with one that it never reaches."""
    expected, whole = board()
    counts, wrapped = board(flags="-DPERIOD=1000")
    assert counts == expected and min(whole) > 3000
    assert all(0.98 * one < other < 1.02 * one for one, other in zip(whole, wrapped, strict=True)), (whole, wrapped)


@pytest.mark.slow
@pytest.mark.skipif(bool(needed), reason=f"no {' and no '.join(needed)}")
def test_initialized_data_come_out_of_the_flash(board):
    counts, _ = board(
        device=(
            "int main(void)\n{\n",
            'static volatile unsigned long initialized = 0x12345678;\n\nint main(void)\n{\n    printf("%lx\\n", '
            "initialized++);\n",
        )
    )
    assert counts[0] == "12345678" and len(counts) == 11


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="no arm-none-eabi-gcc")
@pytest.mark.parametrize("name", ["csnn.o", "csnn_int8.o"])
def test_what_a_device_has_to_link_is_what_the_page_says(small_bundle, tmp_path, name):
    """memset and memcpy, and without a floating-point unit some ten functions of libgcc."""

    def needed_by(*cpu: str) -> set[str]:
        settings = ["CC=arm-none-eabi-gcc", "PIC=", f"CFLAGS={' '.join(cpu)}", f"BUILD={tmp_path}"]
        subprocess.run(["make", "-s", "-C", small_bundle / "c", "-f", "Makefile", *settings, name], check=True)
        command = ["arm-none-eabi-nm", "-u", tmp_path / name]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()) - {"U"}

    own = {"memset", "memcpy"}
    assert needed_by("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard") <= own
    soft = needed_by("-mcpu=cortex-m0plus", "-mthumb") - own
    assert 8 <= len(soft) <= 12 and all(symbol.startswith("__aeabi_") for symbol in soft), soft


def test_the_figures_of_the_page_are_those_that_were_recorded():
    recorded = json.loads((ROOT / "results/microcontroller.json").read_text())
    assert microcontroller.table(recorded["rows"]) in read(PAGE)
    assert all(row["counts_equal"] for row in recorded["rows"] if row["fits_board"])
