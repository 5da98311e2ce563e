"""`step.onnx`, `step_b1.onnx`: one time step in plain ONNX operators, of any batch and of one."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import onnx

from export import latency
from export.graphs import onnx_facts, onnx_file, step_graph
from export.manifest import Manifest
from export.parts.part import Advice, ComparedRow, Found, Part, Timing, Usage
from export.proof import Figures
from export.proof.equality import Window, equality, problems, windows
from export.proof.runners import OnnxRunner, ReferenceRunner, step_counts, zeros
from export.reference import frames
from export.report import snippets
from export.settings import EXTENTS
from export.subject import ExportInputs, Subject

PLAIN, STATIC = "step.onnx", "step_b1.onnx"


def write(source: ExportInputs) -> None:
    subject = source.subject
    plain = step_graph.step(subject.config.model, subject.tensors, source.opset)
    for name, model in ((PLAIN, plain), (STATIC, step_graph.static(plain))):
        onnx_file.save(model, subject.folder / name)


def load(folder: Path) -> onnx.ModelProto:
    """`step.onnx` of a bundle, which other files are made from and compared with.

    Raises:
        UserError: it is missing or no ONNX file.
    """
    return onnx_file.load(folder / PLAIN)


def check(subject: Subject, name: str) -> Found:
    """Equal to torch in ONNX Runtime; step.onnx also in onnx's reference evaluator."""
    model = onnx_file.load(subject.folder / name)
    found = check_in_onnxruntime(subject, model)
    if name == PLAIN:
        reference = equality(subject.step, ReferenceRunner(model), _evaluated(subject))
        figures = {"onnxruntime": found.proof["onnxruntime"], "reference_evaluator": reference}
        figures["accuracy"] = found.proof["accuracy"]
        return replace(found, proof=figures, problems=found.problems + problems("reference_evaluator", reference))
    return found


def _evaluated(subject: Subject) -> Iterator[Window]:
    """What onnx's reference evaluator is compared on."""
    images, steps = subject.extent.evaluator
    x, steps = subject.few(images), min(steps, subject.time_steps)
    return windows(subject.step, [x[:steps] if x.ndim == 5 else x], time_steps=steps)


def check_in_onnxruntime(subject: Subject, model: onnx.ModelProto) -> Found:
    """A step graph in float: equal to torch."""
    found = equality(subject.step, OnnxRunner(model), subject.compared)
    figures = {"onnxruntime": found, "accuracy": _accuracy(subject, model)}
    return Found(figures, problems("onnxruntime", found), onnx_facts.describe(model))


def same(subject: Subject, received: Path, name: str) -> Iterator[str]:
    """Where a received ONNX file is another graph than the one written here."""
    yield from onnx_facts.differences(onnx_file.load(subject.folder / name), onnx_file.load(received / name))


def _accuracy(subject: Subject, model: onnx.ModelProto) -> float:
    """The accuracy of a step graph. Of step.onnx with its batch fixed it is that of step.onnx, and not measured again.

    A batch of one takes four times as long as images together, to compute what was compared spike by spike already.
    """

    plain, config = load(subject.folder), subject.config.model
    if model == plain or (not subject.extent.each and model == step_graph.static(plain)):
        return subject.once(f"accuracy of {PLAIN}", lambda: subject.accuracy(step_counts(plain, config)))
    return subject.accuracy(step_counts(model, config))


def comparisons(proof: Figures) -> Iterator[ComparedRow]:
    """Comparisons of a step graph in float."""
    yield ComparedRow.of("ONNX Runtime", "torch", proof["onnxruntime"], "spikes differ from torch's")
    if "reference_evaluator" in proof:
        yield ComparedRow.of("onnx's reference evaluator", "torch", proof["reference_evaluator"])


def run_by(manifest: Manifest) -> str:
    """The program that runs an ONNX file while it is timed."""
    return f"the ONNX files in ONNX Runtime\n{manifest['made']['versions']['onnxruntime']}"


def _measure(subject: Subject, name: str, seconds: float) -> Figures:
    frame = next(frames(subject.few(1), subject.time_steps)).numpy()
    return latency.of_onnx(subject.folder / name, [frame, *zeros(subject.config.model, 1)], seconds)


def _advice(manifest: Manifest) -> Iterable[Advice]:
    yield Advice(2, "a stream: you present a frame, and keep the state, at every step", f"`{PLAIN}`")
    yield Advice(3, "a compiler of models that wants fixed shapes (TVM, ONNX-to-C, ...)", f"`{STATIC}`")


def _usage(manifest: Manifest) -> Iterable[Usage]:
    text = f"""\
With ONNX Runtime and NumPy alone (`pip install onnxruntime numpy`), in this folder. One time step at a time; the
membranes go in and come out:

<!-- step -->
```python
{snippets.step(manifest["semantics"])}
```"""
    yield Usage(1, text)


TIMING = Timing("one step", _measure, run_by)
"""Of any step graph."""


def _accuracy_note(manifest: Manifest) -> str:
    if EXTENTS[manifest["settings"]["effort"]].each:
        return ""
    return f"That of `{STATIC}` is `{PLAIN}`'s, whose graph it is with a batch of one."


PART = Part(
    what={
        PLAIN: "one time step in plain ONNX operators, any batch: (image, membranes) -> (spikes, membranes)",
        STATIC: "the same with every shape fixed and a batch of one, for tool chains that need that",
    },
    write=write,
    check=check,
    same=same,
    timing=TIMING,
    comparisons=comparisons,
    advice=_advice,
    usage=_usage,
    accuracy_note=_accuracy_note,
)
