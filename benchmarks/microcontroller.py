"""Builds the C program of bundles for microcontrollers and runs it in QEMU, as in docs/deploy/microcontroller.md.

    python benchmarks/microcontroller.py RUN > results/microcontroller.json
    python benchmarks/microcontroller.py RUN RUN ... > results/microcontroller_few_bits.json

Makes the page's bundles from a run, as trained and rounded to 8 and 4 bits. For each it prints the sizes of its
constants and state, whether its counts match the golden ones, and the instructions per image on a Cortex-M7 and a
Cortex-M4. Several runs are exported as trained, with `--drop-silent`. For these it also prints the operations of all
test images (see network.h), and instructions on a Cortex-M7: the mean of the first 200, the most of the 50 images with
the most operations, and those of a network of the same shape whose neurons all fire, on a white image.
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

import counting
import numpy as np

import csnn_jax
from csnn_jax import data, machine
from csnn_jax.document import markdown
from csnn_jax.runs import weights
from export import channels
from export.c import program

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
SOME = 50
"""The images with the most operations, of which one takes the most instructions."""
BITS = (None, 8, 4)
BUNDLES = {
    "no flag": (),
    "`--drop-silent`": ("--drop-silent",),
    "`--drop-silent --time-steps 10`": ("--drop-silent", "--time-steps", "10"),
    "`--drop-silent --time-steps 4`": ("--drop-silent", "--time-steps", "4"),
}


def main() -> None:
    runs = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if len(runs) == 1:
            rows = [of_bundle(runs[0], work, made_with, bits) for made_with in BUNDLES for bits in BITS]
        else:
            rows = [as_trained(run, work) for run in runs]
    command = " ".join(["python benchmarks/microcontroller.py", *("RUN" for _ in runs)])
    about = {"command": command, "commit": machine.commit(), **machine.describe()}
    versions = [first_line("arm-none-eabi-gcc", "--version"), first_line("qemu-system-arm", "--version")]
    print(json.dumps(about | {"versions": versions, "rows": rows}, indent=1))


def first_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def of_bundle(run: str, folder: Path, made_with: str, bits: int | None, *effort: str) -> dict[str, Any]:
    """Makes a bundle, and runs its program on every board."""
    flags = [*BUNDLES[made_with], *(("--weight-bits", str(bits)) if bits else ())]
    command = [sys.executable, "-m", "export", run, "--out", folder / "small", "--overwrite", *flags, *effort]
    subprocess.run(command, check=True, stdout=sys.stderr)
    made = json.loads((folder / "small/manifest.json").read_text())
    figures = made["results"]["files"]["c/"]
    return {
        "made_with": made_with,
        "bits": made["results"]["job"]["weight_bits"],
        "time_steps": made["results"]["semantics"]["time_steps"],
        **figures["memory"],
        "unable_channels": sum(figures["unable_channels"].values()),
        "membrane_bits": [*figures["membrane_bits"].values()],
        "accuracy": figures["accuracy"],
        "of": made["results"]["accuracy_images"],
        "boards": {board: on_device(folder, board) for board in BOARDS},
    }


def as_trained(run: str, folder: Path) -> dict[str, Any]:
    """Exports a run without flags, to see what can't fire, and with `--drop-silent`, to measure it."""
    command = [sys.executable, "-m", "export", run, "--out", folder / "all_channels", "--quick", "--overwrite"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    made = json.loads((folder / "all_channels/manifest.json").read_text())["results"]["files"]["c/"]
    whole = {"whole": made["memory"] | {"unable_channels": made["unable_channels"]}}
    return whole | of_bundle(run, folder, "`--drop-silent`", None, "--quick") | of_test_images(folder)


def of_test_images(folder: Path) -> dict[str, Any]:
    """Counts the instructions of the bundle's network for all test images, and of one whose neurons all fire."""
    bundle = csnn_jax.load(folder / "small")
    model = channels.able(*weights.load(folder / "small/weights.safetensors")).config
    test = data.load_for(bundle.config).test
    for name in ("first", "costly", "count"):
        shutil.copytree(folder / "small/c", folder / name / "small/c", dirs_exist_ok=True)
    taken = counting.counted(folder / "count/small/c", test.images, model.time_steps).sum((1, 2))
    costly = np.sort(np.argsort(taken)[-SOME:])
    first, worst = (
        on_samples(folder / name, images)
        for name, images in (("first", test.images[: 4 * SOME]), ("costly", test.images[costly]))
    )
    program.write_sources(folder / "all/small/c", model, counting.firing(model))
    (all_firing,) = on_samples(folder / "all", np.full_like(test.images[:1], 255))
    return {
        "accuracy": bundle.evaluate(test).accuracy,
        "of": len(test.labels),
        "operations": {"mean": float(taken.mean()), "worst": int(taken.max()), "most": most_operations(folder)},
        "instructions": {"images": len(first), "mean": statistics.mean(first), "worst": max(worst), "all": all_firing},
    }


def on_samples(folder: Path, images: np.ndarray) -> list[int]:
    """The instructions on a Cortex-M7 for each image, in a folder with the program's sources in small/c.

    What it prints must equal what it prints on this machine.
    """
    golden = folder / "small/golden/c"
    golden.mkdir(parents=True, exist_ok=True)
    built = program.build(folder / "small/c", folder)
    (golden / "samples.bin").write_bytes(images.tobytes())
    (golden / "expected.txt").write_text(program.printed(built.program, images))
    report = on_device(folder)
    assert report["counts_equal"] and report["images"] == len(images)
    return report["instructions"]


def most_operations(folder: Path) -> int:
    """The most operations of `csnn_classify`, from network.h."""
    (most,) = re.findall(r"#define CSNN_MOST_WINDOW_OPERATIONS (\d+)", (folder / "small/c/network.h").read_text())
    return int(most)


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
    printed = subprocess.run(["arm-none-eabi-size", path], capture_output=True, text=True, check=True).stdout
    return {"network_flash": int(printed.splitlines()[1].split()[0])}


def table(rows: list[dict[str, Any]]) -> str:
    """The page's table: a row for each set of flags; cells list the values for each width."""
    head = ("made with", "flash, MB", "RAM, kB", "million instructions on a Cortex-M7", "accuracy, %")
    return markdown.table(
        head, (_row(made_with, [*of]) for made_with, of in groupby(rows, lambda row: row["made_with"]))
    )


def few_bits(rows: list[dict[str, Any]]) -> str:
    """The page's table of networks trained with few bits."""
    head = ("bits", "flash, kB", "RAM, kB", "million instructions: mean", "worst", "all firing", "accuracy, %")
    shown = [
        (
            str(row["bits"]),
            f"{row['boards']['Cortex-M7']['network_flash'] / 1e3:.0f}",
            f"{row['state_bytes'] / 1e3:.0f}",
            *(f"{n / 1e6:.2f}" for n in (row["instructions"][of] for of in ("mean", "worst", "all"))),
            f"{100 * row['accuracy']:.2f}",
        )
        for row in rows
    ]
    return markdown.table(head, shown)


def _row(made_with: str, widths: list[dict[str, Any]]) -> tuple[str, ...]:
    return (
        made_with,
        ", ".join(f"{row['boards']['Cortex-M7']['network_flash'] / 1e6:.2g}" for row in widths),
        f"{max(row['state_bytes'] for row in widths) / 1e3:.0f}",
        ", ".join(_millions(row["boards"]["Cortex-M7"]) for row in widths),
        ", ".join(f"{100 * row['accuracy']:.1f}" for row in widths),
    )


def _millions(report: dict[str, Any]) -> str:
    """The mean over the images; a dash if the program doesn't fit."""
    return f"{statistics.mean(report['instructions']) / 1e6:.2g}" if report["fits_board"] else "-"


def page_commands() -> str:
    """The commands on the page that build and run the program."""
    marked = r"test_microcontroller\.py runs it -->\n```sh\n(.*?)^```$"
    (commands,) = re.findall(marked, PAGE.read_text(), re.S | re.M)
    return commands


if __name__ == "__main__":
    main()
