"""`step_int8.onnx`: static quantisation of the convolutions and matrix products; the neurons stay in float32."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization

from csnn_jax.config import ModelConfig
from export.graphs.onnx_file import finish, membrane_names, metadata_of
from export.proof.network import frames, inputs, membrane_shapes

_QUANTISED = ("Conv", "Gemm")


def quantised(step: onnx.ModelProto, config: ModelConfig, images: np.ndarray) -> onnx.ModelProto:
    """Quantises Conv and Gemm in QDQ form: weights int8 per output channel, what goes in and out of them uint8.

    Images and spikes keep the range 0 to 1, in which a spike is exact; the range of what comes out of a Conv or a Gemm
    is the widest that was seen.

    Args:
        step: as `step_graph.step` makes it.
        config: its stack.
        images: training images uint8 [N, H, W, C] or [N, T, H, W, C] that the ranges are taken from, run for the
            whole window.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(step)  # quantize_static spoils its argument
    onnx.helper.set_model_props(plain, {"onnx.quant.pre_process": "onnxruntime.quant"})  # shapes are there already
    unit = [{"rmin": np.float32(0), "rmax": np.float32(1)}]
    ranges = {node.input[0]: unit for node in step.graph.node if node.op_type in _QUANTISED}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step_int8.onnx"
        quantization.quantize_static(
            plain,
            path,
            _Window(step, config, images),
            op_types_to_quantize=list(_QUANTISED),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"TensorQuantOverrides": ranges},
        )
        model = onnx.load(path)
    model.graph.name = "csnn_step_int8"
    return finish(model, metadata_of(step))


class _Window(quantization.CalibrationDataReader):
    """The inputs of every step of a free-running window, one step per call."""

    def __init__(self, step: onnx.ModelProto, config: ModelConfig, images: np.ndarray):
        session = onnxruntime.InferenceSession(step.SerializeToString(), providers=["CPUExecutionProvider"])
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
