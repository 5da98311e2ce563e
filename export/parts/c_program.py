"""`c/`: the network as a C99 program. `csnn.c` is the same for every network, three headers are not."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from csnn_jax.files import write_atomic
from csnn_jax.runs.equality import differ
from export.bundle import GOLDEN, Manifest
from export.c import headers, program
from export.network import Bundle, Inputs
from export.parts.part import Advice, CheckResult, ComparedRow, Part, Timing, Usage
from export.proof import Figures, latency
from export.proof.equality import equality, problems
from export.proof.evidence import Evidence
from export.proof.runners import summed
from export.report.cells import size

NAME = "c/"
SAMPLES = f"{GOLDEN}/c/samples.bin"
"""Test images as the program takes them, for all that run it."""
MAKE = "make -C c -f Makefile BUILD=../../csnn-build"
"""How reports call make in the folder of a bundle: with this Makefile, for make prefers a GNUmakefile, and outside."""


def write(bundle: Bundle, inputs: Inputs) -> None:
    folder = bundle.folder / "c"
    folder.mkdir()
    for name in program.FILES:
        write_atomic(folder / name, (bundle.sources / name).read_bytes())


def check(bundle: Bundle, evidence: Evidence) -> Iterator[CheckResult]:
    """Compiled, equal to torch; the program prints torch's scores, and the names of the classes that have the most."""
    model = bundle.network.model
    library = program.Library(bundle.program.library, model)
    compared = equality(bundle.network.step, library, evidence.compared)
    run = _running(bundle)
    printed = [run(one.x) for one in evidence.compared]
    pairs = [(scores, summed(one.torch.output)) for (_, scores), one in zip(printed, evidence.compared, strict=True)]
    different, count = sum(differ(a, b) for a, b in pairs), sum(a.size for a, _ in pairs)
    accuracy = evidence.accuracy(lambda x: run(x)[1])
    wrong = problems("the library", compared)
    if different:
        wrong.append(f"{different:,} of {count:,} scores that the program prints differ from torch's")
    if any((classes != program.classes(scores)).any() for classes, scores in printed):
        wrong.append("the program prints other classes than those of its scores")
    memory = {"constant_bytes": headers.weight_bytes(model), "state_bytes": library.state_bytes}
    figures: Figures = {"library": compared, "program": {"counts": count, "different_counts": different}}
    yield CheckResult(figures | {"memory": memory, "accuracy": accuracy}, wrong)


def _running(bundle: Bundle) -> Callable[[torch.Tensor], tuple[np.ndarray, np.ndarray]]:
    """Runs the compiled program: from `reference.inputs` to classes and scores, as `program.answers` has them."""
    model, names, built = bundle.network.model, bundle.network.config.class_names, bundle.program.program
    return lambda x: program.answers(built, program.samples(model, x.numpy()), names)


def measure(bundle: Bundle, x: torch.Tensor, name: str, seconds: float) -> Figures:
    """Latency of `csnn_classify`."""
    model = bundle.network.model
    library = program.Library(bundle.program.library, model)
    (sample,) = program.samples(model, x.numpy())
    return latency.of(lambda: library.classify(sample), seconds)


def _comparisons(proof: Figures) -> Iterator[ComparedRow]:
    yield ComparedRow("compiled", proof["library"])


def _advice(manifest: Manifest) -> Iterable[Advice]:
    flash, ram = (size(count) for count in manifest["proof"][NAME]["memory"].values())
    yield Advice(5, f"a bare device with {flash} of flash to spare, 5 kB for the code and {ram} of RAM", f"`{NAME}`")


def _usage(manifest: Manifest) -> Iterable[Usage]:
    meaning = manifest["semantics"]
    text = f"""\
In C: `{MAKE}` builds in `csnn-build` next to this folder (not in it, because verification rejects additional
files), then run `../csnn-build/csnn FILE`. FILE contains raw samples one after another,
{_sample(meaning)}; for each {_PRINTED[meaning["output"]]}"""
    yield Usage(4, text)


_PRINTED = {
    "spikes": """\
the class's name and the spike counts are printed, and `-` for the class if none
spiked. In the tables above, such a sample counts as class 0.""",
    "membrane": "the class's name and the scores are printed, with as many digits as a float32 needs.",
}
"""What the program prints for a sample, by the output of a step."""


def _sample(semantics: dict[str, Any]) -> str:
    channels, height, width = semantics["input"]["shape"]
    frame = f"{height} x {width} x {channels} bytes (height, width, channels)"
    if semantics["input"]["layout"] == "N, C, H, W":
        return frame
    return f"{semantics['time_steps']} frames of {frame} each"


def _memory_note(manifest: Manifest) -> str:
    constants, state = manifest["proof"][NAME]["memory"].values()
    return f"""\
`{NAME}` takes {constants:,} bytes of constants (weights, scales and biases) and {state:,} bytes of
memory that changes."""


PART = Part(
    what={NAME: "a C99 program and library that need no other library; `make` builds them, `c/csnn.h` explains them"},
    write=write,
    check=check,
    timing=Timing("whole window", measure, lambda _: f"`{NAME}` as `make` builds it, which visits only the spikes"),
    comparisons=_comparisons,
    advice=_advice,
    usage=_usage,
    memory_note=_memory_note,
)
