"""`step_int8.onnx`: static quantisation of the convolutions and matrix products; the neurons stay in float32."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime import quantization

from csnn_jax.config import ModelConfig
from csnn_jax.files import Scratch
from export.bundle import Manifest
from export.graphs import onnx_facts, onnx_file
from export.graphs.onnx_file import finish, membrane_names, metadata_of
from export.network import CALIBRATION_IMAGES, Bundle, Inputs
from export.parts import step
from export.parts.part import Advice, CheckResult, Compare, Part
from export.proof.evidence import Evidence
from export.proof.runners import step_counts
from export.reference import frames, inputs, membrane_shapes

NAME = "step_int8.onnx"
FEW = 5
"""Images: a loss of so many, as among the few of `--quick`, may be chance."""

_QUANTISED = ("Conv", "Gemm")


def write(bundle: Bundle, inputs: Inputs) -> None:
    model = quantised(bundle.step_graph, bundle.network.model, np.asarray(inputs.calibration))
    onnx_file.save(model, bundle.folder / NAME)


def check(bundle: Bundle, evidence: Evidence) -> Iterator[CheckResult]:
    """Its accuracy; it is approximate, so its spikes are not compared."""
    model = onnx_file.load(bundle.folder / NAME)
    accuracy = evidence.accuracy(step_counts(model, bundle.network.model))
    yield CheckResult({"accuracy": accuracy}, graph=onnx_facts.describe(model))


def same(bundle: Bundle, received: Path) -> Compare:
    """Where a received file is another graph, but for the ranges that other images would have shown."""
    return lambda name: _differences(bundle, received / name)


def _differences(bundle: Bundle, path: Path) -> Iterator[str]:
    found, expected = onnx_file.load(path), onnx_file.load(bundle.folder / path.name)
    if found.SerializeToString() != path.read_bytes():
        yield "is not written as protobuf writes it"
        return
    layers = () if bundle.calibrated else bundle.network.model.layers
    seen = {f"{layer.name}_{what}" for layer in layers for what in ("scale", "zero_point")}
    ours = {tensor.name: tensor for tensor in expected.graph.initializer if tensor.name in seen}
    for tensor in found.graph.initializer:
        if tensor.name in ours and _is_range(tensor, ours[tensor.name]):
            tensor.CopyFrom(ours[tensor.name])
    yield from onnx_facts.differences(expected, found)


def _is_range(found: onnx.TensorProto, expected: onnx.TensorProto) -> bool:
    """Whether a scale or a zero point could have been seen on other images."""
    if _form(found) != _form(expected):
        return False
    values = numpy_helper.to_array(found)
    scale = found.data_type == onnx.TensorProto.FLOAT
    return not scale or bool(np.isfinite(values).all() and (values > 0).all())


def _form(tensor: onnx.TensorProto) -> tuple[object, ...]:
    """All of a tensor but its values."""
    fields = [field.name for field, _ in tensor.ListFields()]
    return fields, tensor.data_type, list(tensor.dims), tensor.data_location, len(tensor.raw_data)


def quantised(plain: onnx.ModelProto, config: ModelConfig, images: np.ndarray) -> onnx.ModelProto:
    """Quantises Conv and Gemm in QDQ form: weights int8 per output channel, what goes in and out of them uint8.

    What enters gets steps of 1 / `config.input_scale` and spikes the range 0 to 1, in which both are exact; the range
    of what comes out of a Conv or a Gemm is the widest that was seen.

    Args:
        plain: as `step_graph.step` makes it.
        config: its stack.
        images: training images uint8 [N, H, W, C] or [N, T, H, W, C] that the ranges are taken from, run for the
            whole window.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(plain)  # quantize_static spoils its argument
    onnx.helper.set_model_props(copy, {"onnx.quant.pre_process": "onnxruntime.quant"})  # shapes are there already
    entering = [node.input[0] for node in plain.graph.node if node.op_type in _QUANTISED]
    most = [255 / config.input_scale, *[1.0] * (len(entering) - 1)]
    ranges = {
        name: [{"rmin": np.float32(0), "rmax": np.float32(high)}] for name, high in zip(entering, most, strict=True)
    }
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
            reduce_range=True,  # 7 bits: with 8, x86 without VNNI adds pairs of products in 16 bits, which overflow
            extra_options={"TensorQuantOverrides": ranges},
        )
        model = onnx.load(path)
    model.graph.name = "csnn_step_int8"
    return finish(model, metadata_of(plain))


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


def _advice(manifest: Manifest) -> Iterable[Advice]:
    yield Advice(4, "an engine that computes in int8", f"`{NAME}`, within the accuracy below")


def _accuracy_note(manifest: Manifest) -> str:
    proof = manifest["proof"]
    lost = 100 * (proof[step.PLAIN]["accuracy"] - proof[NAME]["accuracy"])
    compared = f"{abs(lost):.2f} points {'worse' if lost > 0 else 'better'} than" if lost else "as accurate as"
    text = (
        f"On these images `{NAME}` is {compared} `{step.PLAIN}`. It was made "
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
    same=same,
    approximate=True,
    timing=step.TIMING,
    advice=_advice,
    accuracy_note=_accuracy_note,
)
