"""`step.onnx`, `step_b1.onnx`: one time step in plain ONNX operators, for any batch size and for a batch of one."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import torch

from csnn_jax.document.blocks import Code, Listing, Paragraph, Words, coded
from csnn_jax.runs.equality import Comparison
from export import semantics
from export.bundle import Manifest
from export.graphs import few_bits, onnx_file, step_graph
from export.network import STEP as PLAIN
from export.network import Bundle
from export.parts.part import Advice, CheckResult, Part, Timing, Usage
from export.proof import Figures
from export.proof.equality import CheckImages, TorchWindow, equality, problems, windows
from export.proof.runners import onnx_latency, onnx_runner, reference_runner, step_scores, zeros
from export.reference import frames
from export.report import snippets
from export.settings import EXTENTS

STATIC = "step_b1.onnx"


def write(bundle: Bundle) -> None:
    network = bundle.network.model, bundle.network.tensors
    metadata = semantics.metadata(bundle.network.semantics)
    plain = few_bits.packed(step_graph.step(*network, bundle.opset, metadata), *network)
    for name, model in ((PLAIN, plain), (STATIC, step_graph.static(plain))):
        onnx_file.save(model, bundle.folder / name)


def check(bundle: Bundle, images: CheckImages) -> Iterator[CheckResult]:
    """Compares both with torch in ONNX Runtime, and step.onnx also in onnx's reference evaluator.

    The accuracy of step_b1.onnx is copied from step.onnx, because batches of one take four times as long, and its
    spikes are compared anyway.
    """
    network, plain = bundle.network, bundle.step_graph
    accuracy = images.accuracy(step_scores(plain, network.model))
    evaluated = equality(network.step, reference_runner(plain), _evaluated(images))
    yield _result(plain, images, accuracy, {"reference_evaluator": evaluated})
    static = onnx_file.load(bundle.folder / STATIC)
    if images.extent.each or static != step_graph.static(plain):
        accuracy = images.accuracy(step_scores(static, network.model))
    yield _result(static, images, accuracy, {})


def _result(model: onnx.ModelProto, images: CheckImages, accuracy: float, others: dict[str, Comparison]) -> CheckResult:
    """Compares a step graph in ONNX Runtime with torch; `others` are comparisons in other programs."""
    compared = {"onnxruntime": equality(images.network.step, onnx_runner(model), images.compared)} | others
    wrong = [line for who, one in compared.items() for line in problems(who, one)]
    figures = {who: one.figures() for who, one in compared.items()}
    return CheckResult(figures | {"accuracy": accuracy, "graph": onnx_file.describe(model)}, wrong)


def _evaluated(images: CheckImages) -> Iterator[TorchWindow]:
    """The windows for comparing onnx's reference evaluator."""
    network, (count, steps) = images.network, images.extent.evaluator
    x, steps = images.few(count), min(steps, network.time_steps)
    return windows(network.step, [x[:steps] if x.ndim == 5 else x], time_steps=steps)


def same(expected: Path, received: Path) -> Iterator[str]:
    """How a received ONNX file's graph differs from the one written here."""
    return onnx_file.differences(*map(onnx_file.load, (expected, received)))


def names(manifest: Manifest, name: str) -> Code:
    """The inputs and outputs of an ONNX file, for the report."""
    graph = manifest["files"][name]["graph"]
    inputs, outputs = (", ".join(value["name"] for value in graph[kind]) for kind in ("inputs", "outputs"))
    return Code(f"({inputs}) -> ({outputs})")


def run_by(manifest: Manifest) -> Words:
    """The program that runs an ONNX file while it is timed."""
    return f"the ONNX files in ONNX Runtime {manifest['made']['versions']['onnxruntime']}"


def _measure(bundle: Bundle, x: torch.Tensor, name: str, seconds: float) -> Figures:
    frame = next(frames(x, 1)).numpy()
    return onnx_latency(bundle.folder / name, [frame, *zeros(bundle.network.model, 1)], seconds)


def _describe(manifest: Manifest) -> Iterable[Advice | Usage]:
    yield Advice(2, "a stream of frames, with your own code to keep the states between steps", Code(PLAIN))
    yield Advice(3, "a model compiler that needs fixed shapes (TVM, ONNX-to-C, ...)", Code(STATIC))
    text = coded(
        "In this folder, with only ONNX Runtime and NumPy ({}). One time step at a time, with the states as inputs and "
        "outputs: {}.",
        *("pip install onnxruntime numpy", names(manifest, PLAIN).text),
    )
    more = []
    if few_bits.DEQUANTIZE in manifest["files"][PLAIN]["graph"]["operators"]:
        more.append(_WHOLE)
    if not EXTENTS[manifest["settings"]["effort"]].each:
        same = "The accuracy of {} was measured with {}, the same graph for any batch size."
        more.append(coded(same, STATIC, PLAIN))
    code = Listing(snippets.step(manifest["semantics"]), "An example", "python", "step")
    yield Usage(1, (Paragraph(text), code, *map(Paragraph, more)))


_WHOLE: Words = coded(
    "Weights are integers, such as {}, which {} multiplies by a power of two for each neuron. These products are "
    'exact. ONNX Runtime computes them again in every call unless the option {} is "1", as it is here.',
    *("fc1.weight_int", few_bits.DEQUANTIZE, "session.disable_quant_qdq"),
)


PART = Part(
    what={
        PLAIN: "one time step in plain ONNX operators, any batch: (image, states) -> (output, states)",
        STATIC: "the same with fixed shapes and a batch of one, for toolchains that need them",
    },
    write=write,
    check=check,
    same=same,
    timing=Timing("one step", _measure, run_by),
    run_by={"onnxruntime": "ONNX Runtime", "reference_evaluator": "onnx's reference evaluator"},
    describe=_describe,
)
