"""golden/c/: real test images in the C program's input format, and its output for them.

    golden/c/samples.bin     the images of golden/sequence, raw bytes, one sample after another
    golden/c/expected.txt    a line for each: its class and its spike counts, or scores

`make check` in c/ builds the program and compares its output. All sums are exact, and no operation after them is fused,
so the output is the same with any compiler and processor that follow IEEE 754.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from csnn_jax.document.blocks import Paragraph, coded
from csnn_jax.files import write_atomic
from export.bundle import GOLDEN, SEQUENCE_SETS, Manifest, golden_images
from export.c import program
from export.network import Bundle, Inputs
from export.parts import c_program, golden
from export.parts.part import CheckResult, Part, Usage
from export.proof.images import CheckImages

NAME, SAMPLES = f"{GOLDEN}/c/", c_program.SAMPLES
EXPECTED = f"{NAME}expected.txt"


def write(bundle: Bundle, inputs: Inputs) -> None:
    (bundle.folder / NAME).mkdir()
    samples = _samples(bundle)
    write_atomic(bundle.folder / SAMPLES, samples.tobytes())
    write_atomic(bundle.folder / EXPECTED, program.printed(bundle.program.program, samples).encode())


def check(bundle: Bundle, images: CheckImages) -> Iterator[CheckResult]:
    """Counts the samples; the check of `c/` compares the program with torch."""
    yield CheckResult({"samples": len(_samples(bundle))})


def _samples(bundle: Bundle) -> np.ndarray:
    model = bundle.network.model
    inputs = golden.inputs(model, golden_images(bundle.folder).images[:SEQUENCE_SETS])
    return np.concatenate([program.samples(model, x.numpy()) for x in inputs])


def _usage(manifest: Manifest) -> Iterable[Usage]:
    text = coded(
        "To test the C program on its target: {} compares its output for the samples in {}. Without make or files, "
        "pass the bytes of {} to {} and compare with {}.",
        *(f"{c_program.MAKE} check", "golden/c", "samples.bin", "csnn_classify", "expected.txt"),
    )
    yield Usage(20, (Paragraph(text),))


PART = Part(
    what={NAME: "test images in the C program's input format, and its output for them"},
    write=write,
    check=check,
    usage=_usage,
)
