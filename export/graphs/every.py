"""The ONNX files of a bundle, all made from one step graph."""

import numpy as np
import onnx

from csnn_jax.config import ModelConfig
from csnn_jax.runs.weights import Tensors
from export.parts.sequence import sequence
from export.parts.step import static, step
from export.parts.step_int8 import quantised
from export.parts.step_lif import with_lif_functions


def all_graphs(
    config: ModelConfig, tensors: Tensors, opset: int, calibration: np.ndarray, frames: bool = False
) -> dict[str, onnx.ModelProto]:
    """Makes every ONNX file of a bundle: {file name: checked model}.

    Args:
        config: the stack.
        tensors: its parameters as `weights.load` gives them.
        opset: version of ONNX's operator set, 18 to 20.
        calibration: training images uint8 [N, H, W, C] or [N, T, H, W, C], from which the ranges of the quantised
            file are taken; 64 are enough.
        frames: the data have a time axis of their own.
    """
    plain = step(config, tensors, opset)
    return {
        "step.onnx": plain,
        "step_b1.onnx": static(plain),
        "step_lif.onnx": with_lif_functions(plain, config),
        "sequence.onnx": sequence(plain, config, frames),
        "step_int8.onnx": quantised(plain, config, calibration),
    }
