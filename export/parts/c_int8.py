"""`c/weights_int8.h`: the C program's weights in 8 bits, for devices with little flash."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from csnn_jax.files import write_atomic
from export import reference
from export.c import headers, int8, program
from export.manifest import Manifest
from export.parts import c_program
from export.parts.part import Advice, ComparedRow, Found, Part, Usage
from export.proof import Figures
from export.proof.equality import equality, problems, windows
from export.report.cells import size
from export.subject import ExportInputs, Subject

NAME = f"{c_program.NAME}{c_program.INT8}"
EXPECTED = f"{c_program.GOLDEN}expected_int8.txt"


def write(source: ExportInputs) -> None:
    subject = source.subject
    write_atomic(subject.folder / NAME, (c_program.sources(subject) / c_program.INT8).read_bytes())
    write_atomic(subject.folder / EXPECTED, _printed(subject).encode())


def check(subject: Subject, name: str) -> Found:
    """Equal to a network in torch that has the same rounded weights; its accuracy."""
    model = subject.config.model
    built = c_program.build(subject, int8=True)
    rounded = reference.Step(model, int8.rounded(model, subject.tensors))
    expected = windows(rounded, (one.x for one in subject.compared))
    found = equality(rounded, program.Library(built.library, model), expected)

    def printed(x: torch.Tensor) -> np.ndarray:
        return program.counts(built.program, program.samples(model, x.numpy()))[1]

    figures: Figures = {"library": found, "constant_bytes": headers.weight_bytes(model, int8=True)}
    return Found(figures | {"accuracy": subject.accuracy(printed)}, problems("the library", found))


def _printed(subject: Subject) -> str:
    """What the program prints for the golden samples."""
    samples = np.fromfile(subject.folder / c_program.SAMPLES, np.uint8)
    return program.printed(c_program.build(subject, int8=True).program, samples)


def _comparisons(proof: Figures) -> Iterator[ComparedRow]:
    against = "torch with the same 8 bits"
    yield ComparedRow.of("compiled", against, proof["library"], f"spikes differ from {against}")


def _advice(manifest: Manifest) -> Iterable[Advice]:
    flash = size(manifest["proof"][NAME]["constant_bytes"])
    yield Advice(6, f"a bare device with only {flash} of flash", f"`{c_program.NAME}` built with `{c_program.INT8}`")


def _usage(manifest: Manifest) -> Iterable[Usage]:
    text = f"""\
With weights of 8 bits, which are a little less exact: `{c_program.MAKE} int8` builds `../csnn-build/csnn_int8`, and
with `check-int8` in place of `int8` compares what it prints with `{EXPECTED}`."""
    yield Usage(8, text)


PART = Part(
    what={NAME: "the weights of `c/` in 8 bits, a scale for each output channel; approximate"},
    write=write,
    check=check,
    timing=c_program.TIMING,
    comparisons=_comparisons,
    advice=_advice,
    usage=_usage,
)
