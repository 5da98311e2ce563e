"""`c/weights_int8.h`: the C program's weights in 8 bits, for devices with little flash."""

from collections.abc import Iterable, Iterator

import numpy as np

from csnn_jax.files import write_atomic
from export import reference
from export.bundle import GOLDEN, Manifest
from export.c import headers, program
from export.network import Bundle, Inputs
from export.parts import c_program
from export.parts.part import Advice, CheckResult, ComparedRow, Part, Usage
from export.proof import Figures
from export.proof.equality import equality, problems, windows
from export.proof.evidence import Evidence
from export.report.cells import size

NAME = f"{c_program.NAME}{program.INT8}"
EXPECTED = f"{GOLDEN}/c/expected_int8.txt"


def write(bundle: Bundle, inputs: Inputs) -> None:
    write_atomic(bundle.folder / NAME, (bundle.sources / program.INT8).read_bytes())
    samples = np.fromfile(bundle.folder / c_program.SAMPLES, np.uint8)
    write_atomic(bundle.folder / EXPECTED, program.printed(bundle.program_int8.program, samples).encode())


def check(bundle: Bundle, evidence: Evidence) -> Iterator[CheckResult]:
    """Equal to a network in torch that has the same weights of 8 bits; its accuracy."""
    model, built = bundle.network.model, bundle.program_int8
    step = reference.Step(model, headers.in_8_bits(model, bundle.network.tensors))
    expected = windows(step, (one.x for one in evidence.compared))
    compared = equality(step, program.Library(built.library, model), expected)
    figures: Figures = {"library": compared, "constant_bytes": headers.weight_bytes(model, int8=True)}
    accuracy = evidence.accuracy(c_program.counts_of(built, model))
    yield CheckResult(figures | {"accuracy": accuracy}, problems("the library", compared))


def _comparisons(proof: Figures) -> Iterator[ComparedRow]:
    yield ComparedRow("compiled", proof["library"], against="torch with the same 8 bits")


def _advice(manifest: Manifest) -> Iterable[Advice]:
    flash = size(manifest["proof"][NAME]["constant_bytes"])
    yield Advice(6, f"a bare device with only {flash} of flash", f"`{c_program.NAME}` built with `{program.INT8}`")


def _usage(manifest: Manifest) -> Iterable[Usage]:
    text = f"""\
With weights of 8 bits, which are a little less exact: `{c_program.MAKE} int8` builds `../csnn-build/csnn_int8`, and
with `check-int8` in place of `int8` compares what it prints with `{EXPECTED}`."""
    yield Usage(8, text)


PART = Part(
    what={NAME: "the weights of `c/` in 8 bits, a power of two for each output channel; approximate"},
    write=write,
    check=check,
    timing=c_program.TIMING,
    comparisons=_comparisons,
    advice=_advice,
    usage=_usage,
)
