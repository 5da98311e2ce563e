"""`c/`: the network as a C99 program. `csnn.c` is the same for every network, two headers are not."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from csnn_jax.config import ModelConfig
from csnn_jax.data.events.frames import Window
from csnn_jax.data.events.one_file import window_of
from csnn_jax.files import write_atomic
from csnn_jax.runs.layouts import Tensors
from export import latency
from export.c import headers, program
from export.golden_images import FOLDER
from export.manifest import Manifest
from export.parts.part import Advice, ComparedRow, Found, Part, Timing, Usage
from export.proof import Figures
from export.proof.equality import equality, problems
from export.proof.runners import counts
from export.report.cells import size
from export.subject import ExportInputs, Subject

NAME = "c/"
GOLDEN = f"{FOLDER}/c/"
SAMPLES = f"{GOLDEN}samples.bin"
"""Test images as the program takes them, for all that run it."""
SOURCES = ("csnn.c", "csnn.h", "main.c", "events.c", "program.h", "Makefile")
FILES = (*SOURCES, "network.h", "weights.h")
MAKE = "make -C c -f Makefile BUILD=../../csnn-build"
"""How reports call make in the folder of a bundle: with this Makefile, for make prefers a GNUmakefile, and outside."""
INT8 = "weights_int8.h"
"""A part of its own, see c_int8.py, but for who builds with it."""


def write(source: ExportInputs) -> None:
    folder = source.subject.folder / "c"
    folder.mkdir()
    for name in FILES:
        write_atomic(folder / name, (sources(source.subject) / name).read_bytes())


def check(subject: Subject, name: str) -> Found:
    """Compiled, equal to torch; the program prints what the library counts."""
    model = subject.config.model
    built = build(subject)
    library = program.Library(built.library, model)
    found = equality(subject.step, library, subject.compared)

    def printed(x: torch.Tensor) -> np.ndarray:
        return program.counts(built.program, program.samples(model, x.numpy()))[1]

    pairs = [(printed(one.x), counts(library, model, one.x)) for one in subject.compared]
    different, count = sum(int((a != b).sum()) for a, b in pairs), sum(a.size for a, _ in pairs)
    accuracy = subject.accuracy(printed)
    wrong = problems("the library", found)
    if different:
        wrong.append(f"{different:,} of the counts that the program prints differ from the library's")
    memory = {"constant_bytes": headers.weight_bytes(model), "state_bytes": library.state_bytes}
    figures: Figures = {"library": found, "program": {"counts": count, "different_counts": different}}
    return Found(figures | {"memory": memory, "accuracy": accuracy}, wrong)


def write_sources(
    folder: Path, config: ModelConfig, tensors: Tensors, frames: int | None = None, window: Window | None = None
) -> None:
    """Writes the program's sources, `FILES` and `INT8`.

    Args:
        folder: where to; made if it is not there.
        config: the stack.
        tensors: its parameters in torch's layouts, see `weights.load`; rounded to float32.
        frames: how many frames a sample has; None: what the encoding says, one image for direct, else one frame of
            0 and 1 for every time step.
        window: what makes frames of a camera's events; None: the program takes none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        write_atomic(folder / name, resources.files("export.c").joinpath(name).read_bytes())
    write_atomic(folder / "network.h", headers.network(config, frames, window).encode())
    for name in ("weights.h", INT8):
        write_atomic(folder / name, "".join(headers.weights(config, tensors, int8=name == INT8)).encode())


def sources(subject: Subject) -> Path:
    """The folder of sources, with weights in float and in 8 bits."""

    def make() -> Path:
        _write_for(subject, subject.workshop / "sources")
        return subject.workshop / "sources"

    return subject.once("the sources of c/", make)


def build(subject: Subject, int8: bool = False) -> program.Built:
    """Builds `sources`, with weights of 8 bits if asked for; once for all that run it.

    Raises:
        UserError: as `program.build`.
    """

    def make() -> program.Built:
        (subject.workshop / "built").mkdir(exist_ok=True)
        return program.build(sources(subject), subject.workshop / "built", int8)

    return subject.once(f"the program of c/{' in 8 bits' if int8 else ''}", make)


def _write_for(subject: Subject, folder: Path) -> None:
    frames = subject.time_steps if subject.frames else None
    window = window_of(subject.config) if subject.frames else None
    if window is not None:
        window = replace(window, steps=subject.window_frames or window.steps)
    write_sources(folder, subject.config.model, subject.tensors, frames, window)


def measure(subject: Subject, name: str, seconds: float) -> dict[str, Any]:
    """Latency of `csnn_classify`; `name` is that of the part."""
    model = subject.config.model
    library = program.Library(build(subject, int8=name != NAME).library, model)
    (sample,) = program.samples(model, subject.few(1).numpy())
    return latency.of(lambda: library.classify(sample), seconds)


def _comparisons(proof: Figures) -> Iterator[ComparedRow]:
    yield ComparedRow.of("compiled", "torch", proof["library"], "spikes differ from torch's")


def _advice(manifest: Manifest) -> Iterable[Advice]:
    flash, ram = (size(count) for count in manifest["proof"][NAME]["memory"].values())
    yield Advice(5, f"a bare device with {flash} of flash and {ram} of RAM to spare", f"`{NAME}`")


def _usage(manifest: Manifest) -> Iterable[Usage]:
    text = f"""\
In C: `{MAKE}` builds in `csnn-build` beside this folder (not in it, for verification counts a file too many as a
difference), then `../csnn-build/csnn FILE`. FILE holds raw samples one after another,
{_sample(manifest["semantics"])}; for each the class and the spike counts are printed, and `-` for the class if none
spiked. Where answers are counted above, such a sample counts as class 0."""
    yield Usage(4, text)


def _sample(semantics: dict[str, Any]) -> str:
    channels, height, width = semantics["input"]["shape"]
    frame = f"{height} x {width} x {channels} bytes (height, width, channels)"
    if semantics["input"]["layout"] == "N, C, H, W":
        return frame
    return f"{semantics['time_steps']} frames of {frame} each"


def _memory_note(manifest: Manifest) -> str:
    constants, state = manifest["proof"][NAME]["memory"].values()
    return f"""\
`{NAME}` takes {constants:,} bytes of constants (weights and biases) and {state:,} bytes of
memory that changes."""


TIMING = Timing("whole window", measure, lambda manifest: f"`{NAME}` as `make` builds it, which visits only the spikes")
"""Of either program."""

PART = Part(
    what={NAME: "a C99 program and library that need no other library; `make` builds them, `c/csnn.h` explains them"},
    write=write,
    check=check,
    timing=TIMING,
    comparisons=_comparisons,
    advice=_advice,
    usage=_usage,
    memory_note=_memory_note,
)
