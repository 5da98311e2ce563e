"""golden/: inputs and outputs for real test images, in the layout of ONNX's backend tests.

    golden/step/test_data_set_0..99/        input_0.pb frame, input_1.pb ... states before the step;
                                            output_0.pb output, output_1.pb ... states after it
    golden/sequence/test_data_set_0..9/     input_0.pb image (or frames); output_0.pb scores, output_1.pb outputs
    golden/images.safetensors               the test images that these are made from, uint8, and their labels
    golden/c/samples.bin                    the images of golden/sequence, raw bytes, one sample after another
    golden/c/expected.txt                   a line for each: its class and its spike counts, or scores
    check_onnx.py                           checks the ONNX files without this package; a copy of export/receiver.py

Every .pb file is one `onnx.TensorProto`. Step sets follow an image through its window, then the next image, so a
program that keeps its own states can run them in order. The values are the torch reference's after
`csnn_jax.runs.equality.canonical`, so programs that flush subnormal numbers or return -0 compare equal.

`make check` in c/ builds the C program and compares its output with expected.txt. All sums are exact, and no operation
after them is fused, so the output is the same with any compiler and processor that follow IEEE 754.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import safetensors.numpy
import torch

from csnn_jax.config.network import ModelConfig
from csnn_jax.data import Split
from csnn_jax.document.blocks import Code, Paragraph, coded
from csnn_jax.document.numbers import class_of
from csnn_jax.files import write_atomic
from csnn_jax.runs.equality import canonical
from csnn_jax.runs.margins import margins
from csnn_jax.window import output, summed
from export import reference
from export.bundle import GOLDEN, IMAGES, SEQUENCE_SETS, STEP_SETS, Manifest, golden_count, golden_images
from export.c import program
from export.graphs import onnx_file
from export.network import Bundle
from export.parts import c_program
from export.parts.part import Advice, CheckResult, Part, Usage
from export.proof.equality import CheckImages

NAME, NAME_C, SCRIPT_NAME = f"{GOLDEN}/", f"{GOLDEN}/c/", "check_onnx.py"
EXPECTED_C = f"{NAME_C}expected.txt"


class Golden(NamedTuple):
    """One set of golden tensors: arrays in the order of the graph's inputs and outputs."""

    inputs: list[np.ndarray]
    outputs: list[np.ndarray]


def write(bundle: Bundle) -> None:
    graphs = {"step": bundle.step_graph.graph, "sequence": onnx_file.load(bundle.folder / "sequence.onnx").graph}
    write_sets(bundle.folder, graphs, bundle.network.step, bundle.test)


def check(bundle: Bundle, images: CheckImages) -> Iterator[CheckResult]:
    """Describes the sets; making them again shows that they have the reference's values."""
    shown = golden_images(bundle.folder)
    scores = next(read(bundle.folder, "sequence")).outputs[0][0].tolist()
    counts = {kind: sum(1 for _ in read(bundle.folder, kind)) for kind in ("step", "sequence")}
    first = {"label": int(shown.labels[0]), "class": int(np.argmax(scores)), "scores": scores}
    yield CheckResult({"images": len(shown.labels), "sets": counts, "first": first})


def same(expected: Path, received: Path) -> Iterable[str]:
    """How a received file's images or tensor differ."""
    if expected.name == Path(IMAGES).name:
        return ["doesn't contain the first images of the test set"]
    return onnx_file.differences(*map(onnx_file.read_tensor, (expected, received)))


def write_sets(folder: Path, graphs: Mapping[str, onnx.GraphProto], step: reference.Step, split: Split) -> None:
    """Writes the sets of the first images of a split; `graphs`, of both ONNX files, have the tensors' names."""
    time_steps = step.config.time_steps
    needed = golden_count(time_steps)
    images, labels = split.images[:needed], split.labels[:needed]
    xs = inputs(step.config, np.asarray(images))
    windows = (of_window(step, x, time_steps) for x in xs[:SEQUENCE_SETS])
    kinds = {"step": islice(_step_sets(step, xs, time_steps), STEP_SETS), "sequence": windows}
    for kind, sets in kinds.items():
        for number, golden in enumerate(sets):
            place = folder / GOLDEN / kind / f"test_data_set_{number}"
            place.mkdir(parents=True)
            onnx_file.save_tensors(place, "input", golden.inputs, graphs[kind].input)
            onnx_file.save_tensors(place, "output", golden.outputs, graphs[kind].output)
    arrays = {"images": np.ascontiguousarray(images), "labels": np.ascontiguousarray(labels)}
    write_atomic(folder / IMAGES, safetensors.numpy.save(arrays))


def read(folder: Path, kind: str) -> Iterator[Golden]:
    """The sets of one kind, "step" or "sequence", in order.

    Raises:
        UserError: a file isn't a tensor.
    """
    number = 0
    while (path := folder / GOLDEN / kind / f"test_data_set_{number}").is_dir():
        yield Golden(onnx_file.load_tensors(path, "input"), onnx_file.load_tensors(path, "output"))
        number += 1


def of_step(step: reference.Step, inputs: list[np.ndarray]) -> Golden:
    """One step of the reference from these inputs: frame and states."""
    return Golden(inputs, [canonical(value.numpy()) for value in step(*map(torch.from_numpy, inputs))])


def of_window(step: reference.Step, x: torch.Tensor, time_steps: int) -> Golden:
    """The whole window for an input, see `reference.inputs`: the scores, and the output of every step."""
    read = output(step.config, *reference.trace(step, x, time_steps)).numpy()
    return Golden([x.numpy()], [canonical(summed(read)), canonical(read)])


def inputs(config: ModelConfig, images: np.ndarray) -> list[torch.Tensor]:
    """The inputs of golden images, one by one."""
    return [reference.inputs(config, images[k : k + 1], (0, 4, k)) for k in range(len(images))]


def _step_sets(step: reference.Step, xs: Sequence[torch.Tensor], time_steps: int) -> Iterator[Golden]:
    for x in xs:
        states = [u.numpy() for u in step.initial_states(1)]
        for frame in reference.frames(x, time_steps):
            golden = of_step(step, [frame.numpy(), *states])
            yield golden
            states = golden.outputs[1:]


def _describe(manifest: Manifest) -> Iterable[Advice | Usage]:
    yield Advice(20, "a port to test", Code(NAME))
    first, meaning = manifest["files"][NAME]["first"], manifest["semantics"]
    label, answer = (class_of(first[name], meaning["class_names"]) for name in ("label", "class"))
    if margins(np.array(first["scores"], np.float32)) < (meaning["margin"] or 0):
        answer = "None"
    scores = " ".join(f"{score:.6g}" for score in first["scores"])
    what, step, window = _RESULTS[meaning["output"]]
    text = f"The class and {what} of the first test image (label {label}) should be: {answer}, [{scores}]."
    yield Usage(2, (Paragraph(text),))
    port = coded(
        "To test a port: {}, {}, ... are consecutive calls of a step. {} and {} are the image and the "
        f"{step}; the other files are the states before and after the step, each an {{}}. The sets in {{}} are whole "
        f"windows: {{}} is the image, {{}} and {{}} are the {window}. Expect equal values, with numbers below 2^-126 "
        "counted as 0, because some processors flush them.",
        *("golden/step/test_data_set_0", "_1", "input_0.pb", "output_0.pb", "onnx.TensorProto", "golden/sequence"),
        *("input_0.pb", "output_0.pb", "output_1.pb"),
    )
    yield Usage(5, (Paragraph(port),))


_RESULTS = {
    "spikes": ("spike counts", "spikes", "spike counts and spikes"),
    "membrane": ("scores", "membranes", "scores and membranes"),
}
"""Names of the result for an image, the output of a step and those of a whole window, by the output of a step."""

STEPS = Part(
    what={NAME: "inputs and outputs for real test images, in the layout of ONNX's backend tests"},
    write=write,
    check=check,
    same=same,
    describe=_describe,
)


def write_c(bundle: Bundle) -> None:
    (bundle.folder / NAME_C).mkdir()
    samples = _c_samples(bundle)
    write_atomic(bundle.folder / c_program.SAMPLES, samples.tobytes())
    write_atomic(bundle.folder / EXPECTED_C, program.printed(bundle.program.program, samples).encode())


def check_c(bundle: Bundle, images: CheckImages) -> Iterator[CheckResult]:
    """Counts the samples; the check of `c/` compares the program with torch."""
    yield CheckResult({"samples": len(_c_samples(bundle))})


def _c_samples(bundle: Bundle) -> np.ndarray:
    model = bundle.network.model
    xs = inputs(model, golden_images(bundle.folder).images[:SEQUENCE_SETS])
    return np.concatenate([program.samples(model, x.numpy()) for x in xs])


def _describe_c(manifest: Manifest) -> Iterable[Usage]:
    if NAME_C not in manifest["files"]:
        return
    prefix = manifest["settings"]["prefix"]
    text = coded(
        "To test the C program on its target: {} compares its output for the samples in {}. Without make or files, "
        "pass the bytes of {} to {} and compare with {}.",
        *(f"{c_program.MAKE} check", "golden/c", "samples.bin", f"{prefix}_classify", "expected.txt"),
    )
    yield Usage(20, (Paragraph(text),))


PART_C = Part(
    what={NAME_C: "test images in the C program's input format, and its output for them"},
    write=write_c,
    check=check_c,
    reason_against=c_program.PART.reason_against,
    describe=_describe_c,
)


def write_script(bundle: Bundle) -> None:
    script = resources.files("export").joinpath("receiver.py")
    write_atomic(bundle.folder / SCRIPT_NAME, script.read_bytes())


def check_script(bundle: Bundle, images: CheckImages) -> Iterator[CheckResult]:
    """Nothing to check: it's this version's script, and isn't run."""
    yield CheckResult()


SCRIPT = Part(
    what={
        SCRIPT_NAME: coded("checks the ONNX files with the tensors in {}; needs only NumPy and ONNX Runtime", "golden/")
    },
    write=write_script,
    check=check_script,
)

PART = (STEPS, PART_C, SCRIPT)
