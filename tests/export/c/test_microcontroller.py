"""On emulated microcontrollers, the program built as on the pages prints the golden counts."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import microcontroller
import pytest
from commands import call
from documents import read

missing = [name for name in ("arm-none-eabi-gcc", "qemu-system-arm") if not shutil.which(name)]
needs_emulator = pytest.mark.skipif(bool(missing), reason=f"no {' and no '.join(missing)}")


@pytest.mark.slow
@needs_emulator
@pytest.mark.parametrize(("bits", "board"), [(None, "Cortex-M7"), (8, "Cortex-M7"), (4, "Cortex-M4")])
def test_a_microcontroller_counts_the_golden_spikes(scan_run, tmp_path, bits, board):
    flags = ["--weight-bits", str(bits)] if bits else []
    done = call("export", scan_run, "--out", tmp_path / "small", "--quick", *flags)
    assert done.returncode == 0, done.stderr
    report = microcontroller.on_device(tmp_path, board)
    assert report["fits_board"] and report["counts_equal"] and report["images"] == 10
    assert all(1e4 < count < 1e8 for count in report["instructions"]), report["instructions"]
    assert report["network_flash"] < report["program_flash"] < 4e6
    assert report["program_flash"] == (tmp_path / "mcu/csnn.bin").stat().st_size  # .data follows the code without a gap
    expected = tmp_path / "small/golden/c/expected.txt"
    expected.write_text(expected.read_text().replace("counts 0", "counts 1", 1))
    with pytest.raises(RuntimeError):
        microcontroller.on_device(tmp_path, board)


@pytest.fixture(scope="module")
def small(scan_run, tmp_path_factory):
    """A folder with the bundle `small`."""
    folder = tmp_path_factory.mktemp("boards")
    done = call("export", scan_run, "--out", folder / "small", "--quick", "--weight-bits", 4)
    assert done.returncode == 0, done.stderr
    return folder


ROWS = [
    re.split(r" *\| *", line)[1:-1]
    for line in re.findall(r"^\|.*Cortex.*", read("docs/deploy/microcontroller.md"), re.M)
]
BOARDS = [row for row in ROWS if len(row) == 7]
"""The page's table: board, core, flash, RAM, speeds, QEMU's name, weights."""


def test_the_emulated_boards_are_in_the_table():
    assert len(BOARDS) == 7 and {row[1] for row in BOARDS} == {*microcontroller.BOARDS}
    assert [row[5] for row in BOARDS if row[5] != "-"] == ["`mps2-an500`", "`olimex-stm32-h405`", "`b-l475e-iot01a`"]


@pytest.mark.slow
@needs_emulator
@pytest.mark.parametrize("row", [row for row in BOARDS if row[5] != "-"], ids=lambda row: row[5].strip("`"))
def test_the_startup_file_starts_the_boards_of_the_table(small, tmp_path, monkeypatch, row):
    """With the addresses of the table in the linker script."""
    _, core, flash, ram, _, machine, _ = row
    files = shutil.copytree(microcontroller.FILES, tmp_path / "files")
    script = (files / "board.ld").read_text()
    for kind, place in (("FLASH (rx) ", flash), ("RAM   (rwx)", ram)):
        length, _, origin = place.split()
        script, count = re.subn(
            rf"({re.escape(kind)} : ORIGIN =) \w+, LENGTH = \w+", rf"\1 {origin}, LENGTH = {length}", script
        )
        assert count == 1
    (files / "board.ld").write_text(script)
    monkeypatch.setattr(microcontroller, "FILES", files)
    flags = microcontroller.BOARDS[core][1]
    monkeypatch.setitem(microcontroller.BOARDS, core, (machine.strip("`"), flags))
    report = microcontroller.on_device(shutil.copytree(small, tmp_path / "folder"), core)
    assert report["counts_equal"] and report["images"] == 10


PROJECT = Path(os.environ.get("CSNN_STM32", "a project by STM32CubeMX"))
MAIN = """\
#include "main.h"
#include "recognize.h"

__asm__(".section .rodata\\nsamples: .incbin \\"SAMPLES\\"\\nsamples_end:\\n.previous");
extern const uint8_t samples[], samples_end[];

/* Calls the debugger: 4 prints a text, 24 ends the emulation. */
static void semihosting(int number, uintptr_t argument)
{
    register int operation __asm__("r0") = number;
    register uintptr_t parameter __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xAB" : "+r"(operation) : "r"(parameter) : "memory");
}

void Error_Handler(void)
{
}

int main(void)
{
    HAL_Init();
    for (const uint8_t *image = samples; image < samples_end; image += (samples_end - samples) / 10) {
        semihosting(4, (uintptr_t)recognize(image));
        semihosting(4, (uintptr_t)"\\n");
    }
    semihosting(24, 0x20026);
}
"""


@pytest.mark.slow
@needs_emulator
@pytest.mark.skipif(
    not PROJECT.is_dir(), reason="needs CSNN_STM32, a CMake project by STM32CubeMX for an STM32F407G-DISC1"
)
def test_a_vendors_project_recognizes_the_golden_images(small, tmp_path):
    """ST's startup code, linker script and HAL; only main.c is replaced, because QEMU doesn't emulate the clock."""
    page, folder = read("docs/deploy/stm32.md"), tmp_path / "folder"
    shutil.copytree(PROJECT, folder / "project", ignore=shutil.ignore_patterns("build"))
    (folder / "small").symlink_to(small / "small")
    for verb, path, text in re.findall(r"^<!-- (write|append): (\S+) -->\n```\w+\n(.*?)^```$", page, re.S | re.M):
        with (folder / path).open("a" if verb == "append" else "w") as file:
            file.write(text)
    (copying,) = re.findall(r"^mkdir -p project/csnn\n.*?(?=```)", page, re.S | re.M)
    (building,) = re.findall(r"test_microcontroller\.py runs it -->\n```sh\n(.*?)^```$", page, re.S | re.M)
    samples = (small / "small/golden/c/samples.bin").resolve()
    (folder / "project/Core/Src/main.c").write_text(MAIN.replace("SAMPLES", str(samples)))
    expected = re.findall(r"^class (.+), spike counts", (small / "small/golden/c/expected.txt").read_text(), re.M)
    for preset in ("Release", "Debug"):
        commands = copying + building.replace("Release", preset)
        done = subprocess.run(["bash", "-euc", commands], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0 and "csnn.c:" not in done.stdout, done.stdout + done.stderr
        (binary,) = (folder / f"project/build/{preset}").glob("*.elf")
        command = ["qemu-system-arm", "-M", "olimex-stm32-h405", "-nographic", "-monitor", "none", "-serial", "none"]
        command += ["-semihosting-config", "enable=on,target=native", "-kernel", binary]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert (done.stdout + done.stderr).split() == expected
        assert (b"state && sample" in binary.read_bytes()) == (preset == "Debug"), "the text of an assert"
