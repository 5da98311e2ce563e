"""`step_int8.onnx`: static quantisation of the convolutions and matrix products; the neurons stay in float32."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime import quantization

from csnn_jax.config import ModelConfig
from csnn_jax.data import Images
from csnn_jax.files import Scratch
from export.graphs import onnx_facts, onnx_file
from export.graphs.onnx_file import finish, membrane_names, metadata_of
from export.manifest import Manifest
from export.parts import step
from export.parts.part import Advice, Found, Part
from export.proof.runners import step_counts
from export.reference import frames, inputs, membrane_shapes
from export.subject import CALIBRATION_IMAGES, ExportInputs, Subject

NAME = "step_int8.onnx"
SEEN = 0.02
"""How far the range that was seen on the same images may differ on another machine, as a part of it."""

FEW = 5
"""Images: a loss of so many, as among the few of `--quick`, may be chance."""

_QUANTISED = ("Conv", "Gemm")


def write(source: ExportInputs) -> None:
    subject, images = source.subject, source.subject.calibration
    assert images is not None, "a bundle is made where the data set is"
    onnx_file.save(_again(subject, images), subject.folder / NAME)


def check(subject: Subject, name: str) -> Found:
    """step.onnx but for its roundings, its int8 weights the trained ones, rounded; its accuracy."""
    model, plain = onnx_file.load(subject.folder / name), step.load(subject.folder)
    problems = [*onnx_facts.problems(model, subject.step), *graph_problems(model, plain)]
    weights = {f"{layer.name}.weight_quantized" for layer in subject.config.model.layers}
    held = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and t.name in weights}
    problems += [f"holds no int8 {name}" for name in sorted(weights - held)]
    if subject.calibration is not None:
        again = _again(subject, subject.calibration)
        problems += constant_problems(model, again, {layer.name for layer in subject.config.model.layers})
    accuracy = subject.accuracy(step_counts(model, subject.config.model))
    return Found({"accuracy": accuracy}, problems, onnx_facts.describe(model))


def _again(subject: Subject, images: Images) -> onnx.ModelProto:
    """What `quantised` makes here and now of step.onnx, once for the file and for its check."""
    return subject.once(NAME, lambda: quantised(step.load(subject.folder), subject.config.model, np.asarray(images)))


def quantised(plain: onnx.ModelProto, config: ModelConfig, images: np.ndarray) -> onnx.ModelProto:
    """Quantises Conv and Gemm in QDQ form: weights int8 per output channel, what goes in and out of them uint8.

    Images and spikes keep the range 0 to 1, in which a spike is exact; the range of what comes out of a Conv or a Gemm
    is the widest that was seen.

    Args:
        plain: as `step_graph.step` makes it.
        config: its stack.
        images: training images uint8 [N, H, W, C] or [N, T, H, W, C] that the ranges are taken from, run for the
            whole window.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(plain)  # quantize_static spoils its argument
    onnx.helper.set_model_props(copy, {"onnx.quant.pre_process": "onnxruntime.quant"})  # shapes are there already
    unit = [{"rmin": np.float32(0), "rmax": np.float32(1)}]
    ranges = {node.input[0]: unit for node in plain.graph.node if node.op_type in _QUANTISED}
    with Scratch() as folder:
        path = folder / "step_int8.onnx"
        quantization.quantize_static(
            copy,
            path,
            _CalibrationSteps(plain, config, images),
            op_types_to_quantize=list(_QUANTISED),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"TensorQuantOverrides": ranges},
        )
        model = onnx.load(path)
    model.graph.name = "csnn_step_int8"
    return finish(model, metadata_of(plain))


def constant_problems(model: onnx.ModelProto, again: onnx.ModelProto, layers: set[str]) -> Iterator[str]:
    """Which constants of a quantised file are not those that quantising gives.

    Args:
        model: the file's graph.
        again: what `quantised` makes here and now.
        layers: names of the layers. The range of what leaves one was seen while the network ran, so its scale and zero
            point may differ by rounding: by SEEN of the scale. All other constants follow from the parameters alone.
    """
    found, expected = ({t.name: numpy_helper.to_array(t) for t in one.graph.initializer} for one in (model, again))
    seen = {f"{layer}_{what}" for layer in layers for what in ("scale", "zero_point")}
    for name in sorted(found.keys() & expected.keys()):
        mine, other = found[name], expected[name]
        if mine.dtype != other.dtype or mine.shape != other.shape:
            alike = False
        elif name in seen:
            most = SEEN * (other if name.endswith("_scale") else 255)
            alike = bool((np.abs(mine.astype(np.float64) - other) <= most).all())
        else:
            alike = np.array_equal(mine, other)
        if not alike:
            yield f"{name} is not what quantising gives"


class _CalibrationSteps(quantization.CalibrationDataReader):
    """The inputs of every step of a free-running window, one step per call."""

    def __init__(self, plain: onnx.ModelProto, config: ModelConfig, images: np.ndarray):
        session = onnxruntime.InferenceSession(plain.SerializeToString(), providers=["CPUExecutionProvider"])
        self._feeds = _feeds(session, config, images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def _feeds(
    session: onnxruntime.InferenceSession, config: ModelConfig, images: np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
    names = membrane_names(config)
    membranes = [np.zeros((len(images), *shape), np.float32) for shape in membrane_shapes(config)]
    for frame in frames(inputs(config, images), config.time_steps):
        feed = {"image": frame.numpy(), **dict(zip(names, membranes, strict=True))}
        yield feed
        _, *membranes = session.run(None, feed)


def graph_problems(model: onnx.ModelProto, plain: onnx.ModelProto) -> Iterator[str]:
    """Differences between a quantised file and `plain`, once its QuantizeLinear and DequantizeLinear are left out.

    A number may be rounded on its way, to a scale that is a constant of the file; what is computed must be the same.
    """
    held = {tensor.name for tensor in model.graph.initializer}
    sources: dict[str, str] = {}
    computed = []
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            computed.append(node)
            continue
        sources[node.output[0]] = node.input[0].removesuffix("_quantized")
        if not held >= set(node.input[1:]):
            yield f"{node.name} has a scale that is computed"
    found, expected = (
        {node.name: _operation(node, names) for node in nodes}
        for nodes, names in ((computed, sources), (plain.graph.node, {}))
    )
    for name in {**expected, **found}:
        if found.get(name) != expected.get(name):
            yield f"{name} is not what it is in step.onnx"
    ends = [[value.SerializeToString() for value in (*x.graph.input, *x.graph.output)] for x in (model, plain)]
    if ends[0] != ends[1] or len(found) != len(computed):
        yield "has other inputs, outputs or nodes than step.onnx"


def _operation(node: onnx.NodeProto, sources: dict[str, str]) -> tuple[Any, ...]:
    """A node's operation and the tensors that it takes, each followed back through its roundings by `sources`."""
    inputs = []
    for name in node.input:
        for _ in sources:  # a damaged graph may lead in circles
            name = sources.get(name, name)
        inputs.append(name)
    return node.domain, node.op_type, inputs, list(node.output), sorted(a.SerializeToString() for a in node.attribute)


def _advice(manifest: Manifest) -> Iterable[Advice]:
    yield Advice(4, "an engine that computes in int8", f"`{NAME}`, within the accuracy below")


def _accuracy_note(manifest: Manifest) -> str:
    proof = manifest["proof"]
    lost = 100 * (proof[step.PLAIN]["accuracy"] - proof[NAME]["accuracy"])
    compared = f"{abs(lost):.2f} points {'worse' if lost > 0 else 'better'} than" if lost else "as accurate as"
    text = (
        f"`{NAME}` is {compared} `{step.PLAIN}`. It was made "
        "with ONNX Runtime's static quantisation: int8 weights with a scale per output channel, images and spikes "
        f"exact, the range of what leaves a convolution or matrix product the widest seen on {CALIBRATION_IMAGES} "
        "training images"
    )
    images = manifest["settings"]["accuracy_images"]
    if lost <= 0.5 or lost * images <= 100 * FEW:
        return f"{text}."
    return f"{text}. More than 0.5 points are lost; training with quantised weights, not offered here, may lose less."


PART = Part(
    what={NAME: "one time step with int8 weights (QDQ), membranes in float; approximate"},
    write=write,
    check=check,
    timing=step.TIMING,
    advice=_advice,
    accuracy_note=_accuracy_note,
)
