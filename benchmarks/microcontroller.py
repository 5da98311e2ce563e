"""Builds the C program of bundles for microcontrollers and runs it in QEMU, as in docs/deploy/microcontroller.md.

    python benchmarks/microcontroller.py RUN > results/microcontroller.json

Makes the page's bundles from a run, as trained and rounded to 8 and 4 bits. For each it prints the sizes of its
constants and state, whether its counts match the golden ones, and the instructions per image on a Cortex-M7 and a
Cortex-M4.
Needs Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm.
"""

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

from csnn_jax import machine
from csnn_jax.document import markdown

PAGE = Path(__file__).parents[1] / "docs/deploy/microcontroller.md"
FILES = PAGE.parent / "mcu"
"""What the page adds to a bundle's program: its start, the linker script, the main function."""
TICK = 40
"""Instructions per tick of the emulated board's timer, see the page."""
BOARDS = {
    "Cortex-M7": ("mps2-an500", "-mcpu=cortex-m7 -mthumb -mfpu=fpv5-d16 -mfloat-abi=hard"),
    "Cortex-M4": ("mps2-an386", "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard"),
}
"""QEMU's machine and the compiler flags; the page uses the first."""
BITS = (None, 8, 4)
BUNDLES = {
    "no flag": (),
    "`--drop-silent`": ("--drop-silent",),
    "`--drop-silent --time-steps 10`": ("--drop-silent", "--time-steps", "10"),
    "`--drop-silent --time-steps 4`": ("--drop-silent", "--time-steps", "4"),
}


def main() -> None:
    (run,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        rows = [of_bundle(run, Path(folder), made_with, bits) for made_with in BUNDLES for bits in BITS]
    about = {"command": "python benchmarks/microcontroller.py RUN", "commit": machine.commit(), **machine.describe()}
    versions = [first_line("arm-none-eabi-gcc", "--version"), first_line("qemu-system-arm", "--version")]
    print(json.dumps(about | {"versions": versions, "rows": rows}, indent=1))


def first_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def of_bundle(run: str, folder: Path, made_with: str, bits: int | None) -> dict[str, Any]:
    """Makes a bundle, and runs its program on every board."""
    flags = [*BUNDLES[made_with], *(("--weight-bits", str(bits)) if bits else ())]
    command = [sys.executable, "-m", "export", run, "--out", folder / "small", "--overwrite", *flags]
    subprocess.run(command, check=True, stdout=sys.stderr)
    made = json.loads((folder / "small/manifest.json").read_text())
    figures = made["results"]["files"]["c/"]
    return {
        "made_with": made_with,
        "bits": bits,
        **figures["memory"],
        "accuracy": figures["accuracy"],
        "of": made["results"]["accuracy_images"],
        "boards": {board: on_device(folder, board) for board in BOARDS},
    }


def on_device(folder: Path, board: str = "Cortex-M7") -> dict[str, Any]:
    """Follows the page's instructions in a folder that contains the bundle `small`.

    Returns:
        Sizes of the program and whether its counts match the bundle's; no counts if it doesn't fit.
    """
    commands = page_commands()
    shutil.copytree(FILES, folder / "mcu", dirs_exist_ok=True)
    for mine, other in zip(BOARDS["Cortex-M7"], BOARDS[board], strict=True):
        assert mine in commands
        commands = commands.replace(mine, other)
    done = subprocess.run(["bash", "-euc", commands], cwd=folder, capture_output=True, text=True)
    sizes = first_sizes(folder / "mcu/csnn.o")
    if "will not fit in region" in done.stderr:
        return {**sizes, "fits_board": False}
    if done.returncode:
        raise RuntimeError(done.stderr)
    ticks = [int(line.split()[0]) for line in (folder / "mcu/ticks.txt").read_text().splitlines()]
    whole = dict(zip(("flash", "data", "bss"), map(int, done.stdout.splitlines()[1].split()[:3]), strict=True))
    return {
        **sizes,
        "fits_board": True,
        "program_flash": whole["flash"] + whole["data"],
        "program_ram": whole["data"] + whole["bss"],
        "counts_equal": "the counts are those of the bundle" in done.stdout,
        "images": len(ticks),
        "instructions": [TICK * count for count in ticks],
    }


def first_sizes(path: Path) -> dict[str, int]:
    """Size of the network alone: its constants and code, in bytes."""
    found = subprocess.run(["arm-none-eabi-size", path], capture_output=True, text=True, check=True).stdout
    return {"network_flash": int(found.splitlines()[1].split()[0])}


def table(rows: list[dict[str, Any]]) -> str:
    """The page's table: a row for each set of flags; cells list the values for each width."""
    head = ("made with", "flash, MB", "RAM, kB", "million instructions on a Cortex-M7", "accuracy, %")
    return markdown.table(
        head, (_row(made_with, [*of]) for made_with, of in groupby(rows, lambda row: row["made_with"]))
    )


def _row(made_with: str, widths: list[dict[str, Any]]) -> tuple[str, ...]:
    return (
        made_with,
        ", ".join(f"{row['boards']['Cortex-M7']['network_flash'] / 1e6:.2g}" for row in widths),
        f"{max(row['state_bytes'] for row in widths) / 1e3:.0f}",
        ", ".join(_millions(row["boards"]["Cortex-M7"]) for row in widths),
        ", ".join(f"{100 * row['accuracy']:.1f}" for row in widths),
    )


def _millions(found: dict[str, Any]) -> str:
    """The mean over the images; a dash if the program doesn't fit."""
    return f"{statistics.mean(found['instructions']) / 1e6:.2g}" if found["fits_board"] else "-"


def page_commands() -> str:
    """The commands on the page that build and run the program."""
    marked = r"test_microcontroller\.py runs it -->\n```sh\n(.*?)^```$"
    (commands,) = re.findall(marked, PAGE.read_text(), re.S | re.M)
    return commands


if __name__ == "__main__":
    main()
