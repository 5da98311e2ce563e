"""`sequence.onnx`: the whole window in one call, with the time loop as an ONNX `Loop`."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from csnn_jax.config.graph import IMAGE
from csnn_jax.config.network import ModelConfig
from csnn_jax.document.blocks import Code, Listing, Paragraph
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.runs.equality import Comparison, differ
from csnn_jax.window import Trace, output, summed
from export.bundle import Manifest
from export.graphs import few_bits, onnx_file
from export.graphs.onnx_file import finish, metadata_of, output_name
from export.network import Bundle
from export.parts import step
from export.parts.part import Advice, CheckResult, Part, Timing, Usage
from export.proof import Figures
from export.proof.equality import CheckImages, TorchWindow, compared, problems
from export.proof.runners import onnx_latency, session
from export.reference import Scores, state_shapes
from export.report import snippets

NAME = "sequence.onnx"
_OUTPUTS = {"spikes": ("counts", "spikes"), "membrane": ("scores", "membranes")}
"""Outputs by the network's readout: scores, which are sums over the window, and the summed values."""

_FLOAT, _INT64, _BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
_node, _value = helper.make_node, helper.make_tensor_value_info


def write(bundle: Bundle) -> None:
    onnx_file.save(graph(bundle.step_graph, bundle.network.model, bundle.network.frames), bundle.folder / NAME)


def check(bundle: Bundle, images: CheckImages) -> Iterator[CheckResult]:
    """Compares the outputs in ONNX Runtime with torch: the output at every step, and its sum."""
    model = onnx_file.load(bundle.folder / NAME)
    comparison, sums = equality(bundle.network.model, model, images.compared)
    figures = {"onnxruntime": comparison.figures() | sums, "accuracy": images.accuracy(scores(model))}
    wrong = problems("onnxruntime", comparison)
    if other := sums["different_counts"]:
        wrong.append(f"in onnxruntime, {other:,} of {sums['counts']:,} sums differ from those of torch")
    yield CheckResult(figures | {"graph": onnx_file.describe(model)}, wrong)


def graph(plain: onnx.ModelProto, config: ModelConfig, frames: bool = False) -> onnx.ModelProto:
    """Builds the loop around a step graph.

    If one image is presented at every step, the inputs are (image [N, C, H, W], time_steps), and currents that depend
    only on it are computed once, before the loop. `time_steps` is an optional int64 scalar; it defaults to the
    configuration's. Otherwise, the only input is images [T, N, C, H, W]. Low-bit weights are dequantized before the
    loop. `frames`: whether the data has its own time axis (encoded spikes always have one).

    Returns:
        The model, with the outputs (counts [N, classes], spikes [T, N, classes]), or (scores, membranes) if membranes
            determine the class.
    """
    output, (total, each) = output_name(config), _OUTPUTS[config.readout]
    frames = frames or config.encoding != "direct"
    weights = [node for node in plain.graph.node if node.op_type == few_bits.DEQUANTIZE]
    nodes = [_renamed(node, output, f"{each}_now") for node in plain.graph.node[len(weights) :]]
    held = {tensor.name for tensor in plain.graph.initializer} | {node.output[0] for node in weights}
    once, every = ([], nodes) if frames else _split(nodes, {IMAGE, *held})
    channels, size = config.input_shape[-1], config.input_shape[:2]
    if frames:
        inputs = [_value("images", _FLOAT, ["T", "N", channels, *size])]
        before = [_node("Shape", ["images"], ["steps"], start=0, end=1), _node("Squeeze", ["steps"], ["time_steps"])]
        per_step = [_node("Gather", ["images", "t"], ["image"], axis=0)]
    else:
        inputs = [_value("image", _FLOAT, ["N", channels, *size]), _value("time_steps", _INT64, [])]
        before = once
        per_step = []
    before = [*weights, *before]
    states = [*state_shapes(config), total]
    # Constants that only the loop uses are kept inside: ONNX Runtime doesn't prepack outer weights, a third slower.
    outer = {name for node in before for name in node.input}
    inside = [tensor for tensor in plain.graph.initializer if tensor.name not in outer]
    loop = _node(
        "Loop",
        ["time_steps", "", *(f"{state}_first" for state in states)],
        [*(f"{state}_last" for state in states[:-1]), total, each],
        name="window",
        body=_body(config, [*per_step, *every], inside),
    )
    shapes = [*state_shapes(config).values(), (config.num_classes,)]
    zeros, constants = _zeros(states, shapes, inputs[0].name, batch_axis=1 if frames else 0)
    if not frames:
        constants.append(numpy_helper.from_array(np.array(config.time_steps, np.int64), "time_steps"))
    outputs = [
        _value(total, _FLOAT, ["N", config.num_classes]),
        _value(each, _FLOAT, ["T", "N", config.num_classes]),
    ]
    outside = [tensor for tensor in plain.graph.initializer if tensor.name in outer]
    whole = helper.make_graph([*before, *zeros, loop], "csnn_sequence", inputs, outputs, [*outside, *constants])
    model = helper.make_model(whole, opset_imports=plain.opset_import, producer_name=plain.producer_name)
    model.producer_version = plain.producer_version
    return finish(model, metadata_of(plain))


def _body(
    config: ModelConfig, nodes: Sequence[onnx.NodeProto], constants: Sequence[onnx.TensorProto]
) -> onnx.GraphProto:
    """One iteration of the loop: (t, go on, states, counts) -> (go on, states, counts, this step's spikes)."""
    total, each = _OUTPUTS[config.readout]
    shapes: dict[str, list[str | int | None]] = {name: ["N", *shape] for name, shape in state_shapes(config).items()}
    classes: list[str | int | None] = ["N", config.num_classes]
    end = [
        _node("Add", [f"{total}_before", f"{each}_now"], [f"{total}_now"]),
        _node("Identity", ["go_on"], ["go_on_next"]),
    ]
    before = [_value(name, _FLOAT, shape) for name, shape in shapes.items()]
    after = [_value(f"{name}_next", _FLOAT, shape) for name, shape in shapes.items()]
    inputs = [_value("t", _INT64, []), _value("go_on", _BOOL, []), *before, _value(f"{total}_before", _FLOAT, classes)]
    outputs = [_value("go_on_next", _BOOL, []), *after, _value(f"{total}_now", _FLOAT, classes)]
    outputs.append(_value(f"{each}_now", _FLOAT, classes))
    return helper.make_graph([*nodes, *end], "csnn_step", inputs, outputs, constants)


def _split(nodes: Sequence[onnx.NodeProto], known: set[str]) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """The nodes that depend only on `known` tensors, and the others, with those that copy a tensor to a state."""
    once, others = list[onnx.NodeProto](), list[onnx.NodeProto]()
    for node in nodes:
        depends = known.issuperset(node.input) and node.op_type != "Identity"
        (once if depends else others).append(node)
        known = known | set(node.output) if depends else known
    return once, others


def _zeros(
    names: Sequence[str], shapes: Sequence[tuple[int, ...]], source: str, batch_axis: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes and constants that compute `{name}_first`, zeros of [batch of `source`, *shape], for every name."""
    nodes = [_node("Shape", [source], ["batch"], start=batch_axis, end=batch_axis + 1)]
    constants = []
    for name, shape in zip(names, shapes, strict=True):
        constants.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}.shape"))
        nodes.append(_node("Concat", ["batch", f"{name}.shape"], [f"{name}.batch_shape"], axis=0))
        nodes.append(_node("ConstantOfShape", [f"{name}.batch_shape"], [f"{name}_first"]))
    return nodes, constants


def _renamed(node: onnx.NodeProto, old: str, new: str) -> onnx.NodeProto:
    """A copy of a node that writes `new` instead of `old`."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.output[:] = [new if name == old else name for name in node.output]
    return copy


def runner(model: onnx.ModelProto) -> Callable[[torch.Tensor], tuple[np.ndarray, np.ndarray]]:
    """Runs a sequence graph in ONNX Runtime: a function from `reference.inputs` to the file's two outputs."""
    runtime = session(model)
    name = runtime.get_inputs()[0].name

    def run(x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        total, each = runtime.run(None, {name: x.numpy()})
        return total, each

    return run


def scores(model: onnx.ModelProto) -> Scores:
    """Runs a sequence graph in ONNX Runtime, for its scores."""
    run = runner(model)
    return lambda x: run(x)[0]


def equality(
    config: ModelConfig, sequence: onnx.ModelProto, expected: Iterable[TorchWindow]
) -> tuple[Comparison, dict[str, int]]:
    """Compares the output of `sequence.onnx` and its sum with torch's.

    Returns:
        (comparison of the outputs, {"counts", "different_counts"} of the sums).
    """
    of_window, last = runner(sequence), config.graph.neurons[-1].name
    counts = {"counts": 0, "different_counts": 0}

    def run(one: TorchWindow) -> Trace:
        sums, each = of_window(one.x)
        counts["counts"] += sums.size
        counts["different_counts"] += differ(summed(output(config, *one.trace)), sums)
        return Trace({last: {MEMBRANE: each}}, {}) if config.readout == "membrane" else Trace({}, {last: each})

    return compared(config, expected, run), counts


def _measure(bundle: Bundle, x: torch.Tensor, name: str, seconds: float) -> Figures:
    return onnx_latency(bundle.folder / name, [x.numpy()], seconds)


def _describe(manifest: Manifest) -> Iterable[Advice | Usage]:
    yield Advice(1, "a program that classifies whole windows in ONNX Runtime", Code(NAME))
    text = Paragraph(("The whole window in one call, ", step.names(manifest, NAME), ":"))
    yield Usage(3, (text, Listing(snippets.sequence(manifest["semantics"]), "An example", "python", "sequence")))


PART = Part(
    what={NAME: "the whole window in one call, with the time loop: image -> (scores, output of every step), any batch"},
    write=write,
    check=check,
    same=step.same,
    timing=Timing("whole window", _measure, step.run_by),
    run_by={"onnxruntime": "ONNX Runtime"},
    describe=_describe,
)
