"""`c/`: the network as a C99 program. Only the generated headers differ between networks."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from csnn_jax.config.network import ModelConfig
from csnn_jax.document.blocks import Code, Paragraph, Table, Words, coded
from csnn_jax.document.numbers import size
from csnn_jax.files import write_atomic
from csnn_jax.runs.equality import differ
from csnn_jax.runs.layouts import Tensors
from csnn_jax.window import Trace, output, summed
from export import reference
from export.bundle import GOLDEN, Manifest
from export.c import headers, layout, program
from export.c.bounds import bounds
from export.c.widths import widths
from export.channels import Able
from export.network import Bundle
from export.parts.part import Advice, CheckResult, Part, Timing, Usage
from export.proof import Figures
from export.proof.equality import CheckImages, TorchWindow, equality, problems
from export.proof.runners import latency

NAME = "c/"
SAMPLES = f"{GOLDEN}/c/samples.bin"
"""Test images in the program's input format."""
MAKE = "make -C c -f Makefile BUILD=../../csnn-build"
"""The make command in reports, for a bundle's folder. It names the Makefile, because make prefers a GNUmakefile, and
builds outside the folder."""


def reason_against(config: ModelConfig, tensors: Tensors) -> str | None:
    """Why there's no C program of a network; None: there's one."""
    return layout.reason_against(config)


def write(bundle: Bundle) -> None:
    folder = bundle.folder / "c"
    folder.mkdir()
    for name in program.FILES:
        write_atomic(folder / name, (bundle.sources / name).read_bytes())


def check(bundle: Bundle, images: CheckImages) -> Iterator[CheckResult]:
    """Compiles the program; it must equal torch, and print torch's scores and the name of the best class.

    It lacks channels that can't fire; torch's must not.
    """
    model, made = bundle.network.model, bundle.in_c
    library = program.Library(bundle.program.library, made.config, bundle.prefix)
    step = reference.Step(made.config, made.tensors)
    comparison = equality(step, library.step, (_kept(one, made) for one in images.compared))
    names, built = bundle.network.config.class_names, bundle.program.program

    def run(x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        return program.answers(built, program.samples(model, x.numpy()), names)

    printed = [run(one.x) for one in images.compared]
    expected = [summed(output(model, *one.trace)) for one in images.compared]
    pairs = [(scores, sums) for (_, scores), sums in zip(printed, expected, strict=True)]
    different, count = sum(differ(a, b) for a, b in pairs), sum(a.size for a, _ in pairs)
    accuracy = images.accuracy(lambda x: run(x)[1])
    wrong = problems("the library", comparison)
    if fired := sum(_fired(one, made) for one in images.compared):
        wrong.append(f"{fired:,} spikes of channels that the program lacks, because they can't fire")
    if different:
        wrong.append(f"{different:,} of {count:,} scores that the program prints differ from those of torch")
    if any((classes != program.classes(scores, bundle.network.margin)).any() for classes, scores in printed):
        wrong.append("the program prints classes that don't match its scores")
    figures: Figures = {
        "library": comparison.figures(),
        "program": {"counts": count, "different_counts": different},
        "memory": {"constant_bytes": headers.weight_bytes(made.config), "state_bytes": library.state_bytes},
        "bounds": {name: one.figures for name, one in bounds(made.config, made.tensors).items()},
        "membrane_bits": widths(made.config, made.tensors),
        "unable_channels": {name: int((~kept).sum()) for name, kept in made.kept.items()},
        "accuracy": accuracy,
    }
    yield CheckResult(figures, wrong)


def _kept(one: TorchWindow, made: Able) -> TorchWindow:
    """Torch's results for the program's channels."""

    def kept(node: str, values: np.ndarray) -> np.ndarray:
        return values[:, :, made.kept[node]]

    states = {node: {name: kept(node, u) for name, u in state.items()} for node, state in one.trace.states.items()}
    spikes = {node: kept(node, layer) for node, layer in one.trace.spikes.items()}
    return one._replace(trace=Trace(states, spikes))


def _fired(one: TorchWindow, made: Able) -> int:
    """How often channels fired that the program lacks."""
    return sum(int(layer[:, :, ~made.kept[node]].sum()) for node, layer in one.trace.spikes.items())


def same(expected: Path, received: Path) -> Iterable[str]:
    """How the text of a received file differs. The version of csnn-jax that wrote it isn't compared."""
    here, there = (_VERSION.sub("", path.read_text()) for path in (expected, received))
    return [] if here == there else ["doesn't match what this version makes from the weights"]


_VERSION = re.compile(r'(?<=_VERSION )"[\w.+!-]{1,60}"|(?<=_VERSION_(MAJOR|MINOR|PATCH) )\d{1,9}')


def measure(bundle: Bundle, x: torch.Tensor, name: str, seconds: float) -> Figures:
    """Latency of `csnn_classify`."""
    model = bundle.network.model
    library = program.Library(bundle.program.library, bundle.in_c.config, bundle.prefix)
    (sample,) = program.samples(model, x.numpy())
    return latency(lambda: library.classify(sample), seconds)


def _describe(manifest: Manifest) -> Iterable[Advice | Usage]:
    if NAME not in manifest["files"]:
        return
    flash, ram = (size(count) for count in manifest["files"][NAME]["memory"].values())
    device = f"a bare-metal device with {flash} of flash, 6 kB more for the code, and {ram} of RAM"
    yield Advice(5, device, Code(NAME))
    meaning, (constants, state) = manifest["semantics"], manifest["files"][NAME]["memory"].values()
    building = coded(
        "In C: {} builds in {} next to this folder (not in it, because verification rejects additional files). Then "
        "run {}. FILE contains raw samples one after another, ",
        *(MAKE, "csnn-build", "../csnn-build/csnn FILE"),
    )
    memory = (
        f" takes {constants:,} bytes of constants (weights, scales and biases) and {state:,} bytes of mutable memory."
    )
    sample = (_sample(meaning), ". For each sample, the program prints the class's name", _PRINTED[meaning["output"]])
    unknown = "" if meaning["margin"] is None else coded(" If the answer is unknown, {} replaces the class.", "-")
    bounded = (
        "For all inputs, whatever the number of steps, these are the ends of all membranes and the most spikes in a "
        "step. So many bits would hold every membrane exactly; above 24, float32 rounds some, equally in every "
        "program. The C program lacks the channels that can't fire:"
    )
    yield Usage(
        4, (Paragraph((building, *sample, unknown, " ", Code(NAME), memory)), Paragraph(bounded), _bounds(manifest))
    )


def _bounds(manifest: Manifest) -> Table:
    figures = manifest["files"][NAME]
    rows = [
        (
            name,
            *(end if isinstance(end, str) else f"{end:.4g}" for end in of["membrane"]),
            of["most_spikes"],
            figures["membrane_bits"][name],
            figures["unable_channels"][name],
        )
        for name, of in figures["bounds"].items()
    ]
    head = ("neurons", "from", "to", "spikes", "bits", "lacks")
    return Table("What the layers of the C program can do", head, rows, stacks=True)


_PRINTED: dict[str, Words] = {
    "spikes": coded(
        ", or {} if no class spiked, and the spike counts. In the tables above, a sample without spikes counts as "
        "class 0.",
        "-",
    ),
    "membrane": " and the scores, with all digits of a float32.",
}
"""What the program prints for a sample, by the output of a step."""


def _sample(semantics: dict[str, Any]) -> str:
    channels, height, width = semantics["input"]["shape"]
    frame = f"{height} x {width} x {channels} bytes (height, width, channels)"
    if semantics["input"]["layout"] == "N, C, H, W":
        return frame
    return f"{semantics['time_steps']} frames of {frame} each"


PART = Part(
    what={
        NAME: coded(
            "a C99 program and library without dependencies; {} builds them, {} explains them", "make", "c/csnn.h"
        )
    },
    write=write,
    check=check,
    same=same,
    reason_against=reason_against,
    form="C",
    timing=Timing(
        "whole window", measure, lambda _: coded("{}, built by {}, which processes only spikes", NAME, "make")
    ),
    run_by={"library": "compiled"},
    describe=_describe,
)
