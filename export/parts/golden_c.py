"""golden/c/: real test images as the C program takes them, and what it prints for them.

    golden/c/samples.bin     the images of golden/sequence, raw bytes, one sample after another
    golden/c/expected.txt    a line for each: its class and its spike counts

`make check` in c/ compares the two where a program was built. Its sums have one order and are rounded after every step,
so every compiler and processor that keeps to IEEE 754 prints the same.
"""

from collections.abc import Iterable

import numpy as np

from csnn_jax.files import write_atomic
from export.c import program
from export.golden_images import SEQUENCE_SETS, images
from export.manifest import Manifest
from export.parts import c_program, golden
from export.parts.part import Found, Part, Usage
from export.subject import ExportInputs, Subject

NAME, SAMPLES = c_program.GOLDEN, c_program.SAMPLES
EXPECTED = f"{NAME}expected.txt"


def write(source: ExportInputs) -> None:
    folder = source.subject.folder
    (folder / NAME).mkdir()
    samples = _samples(source.subject)
    write_atomic(folder / SAMPLES, samples.tobytes())
    write_atomic(folder / EXPECTED, _printed(source.subject, samples).encode())


def check(subject: Subject, name: str) -> Found:
    """How many samples there are; that the program is equal to torch is shown at `c/`."""
    return Found({"samples": len(_samples(subject))})


def _samples(subject: Subject) -> np.ndarray:
    model = subject.config.model
    inputs = golden.inputs(model, images(subject.folder).images[:SEQUENCE_SETS])
    return np.concatenate([program.samples(model, x.numpy()) for x in inputs])


def _printed(subject: Subject, samples: np.ndarray) -> str:
    return program.printed(c_program.build(subject).program, samples)


def _usage(manifest: Manifest) -> Iterable[Usage]:
    text = f"""\
To test the C program where it is to run: `{c_program.MAKE} check` compares what it prints for the samples of
`golden/c`. Without make or files, give `csnn_classify` the bytes of `samples.bin` and compare with `expected.txt`."""
    yield Usage(7, text)


PART = Part(
    what={NAME: "test images as the C program takes them, and what it prints for them"},
    write=write,
    check=check,
    usage=_usage,
)
