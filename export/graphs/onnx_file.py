"""What all ONNX files of a bundle share: tensor names, the semantics in their metadata, and the final checks."""

import json

import onnx

from csnn_jax.config import ModelConfig
from export.proof.network import Step

MIN_OPSET, MAX_OPSET = 18, 20

_EQUATION = {
    "subtract": "U[t] = beta U[t-1] + I[t] - R[t] threshold, R[t] = H(U[t-1] - threshold)",
    "zero": "U[t] = beta (1 - R[t]) U[t-1] + I[t], R[t] = H(U[t-1] - threshold)",
    "none": "U[t] = beta U[t-1] + I[t]",
}
_ENCODING = {
    "direct": "direct: the same image at every step, or its own frame where the data have a time axis",
    "rate": "rate: a pixel spikes at each step with probability pixel / 255",
    "latency": "latency: one spike per pixel at step round((1 - pixel / 255) (T - 1)), none for a pixel of 0",
}


def membrane_names(config: ModelConfig) -> list[str]:
    """Inputs that take U[t-1], one per layer; the output with U[t] has `_next` appended."""
    return [f"mem{number}" for number in range(1, len(config.layers) + 1)]


def current_name(config: ModelConfig, number: int) -> str:
    """The tensor that goes into the neurons of layer `number` (from 1), I[t]."""
    layer = config.layers[number - 1]
    return f"pool{number}" if layer.kind == "conv" else layer.name


def spikes_name(config: ModelConfig, number: int) -> str:
    """The tensor with the spikes of layer `number` (from 1), S[t]."""
    return "spikes" if number == len(config.layers) else f"spikes{number}"


def semantics(config: ModelConfig, step: Step) -> dict[str, str]:
    """What a reader of an ONNX file must know and can't see in its graph, as texts for `metadata_props`.

    `beta` and `threshold` are JSON lists of one float32 number per layer.
    """
    direct = config.encoding == "direct"
    return {
        "neuron": "leaky integrate-and-fire (snnTorch Leaky with its delayed reset)",
        "equation": f"{_EQUATION[config.reset]}; S[t] = H(U[t] - threshold); H(x) = 1 where x > 0, else 0",
        "beta": json.dumps([neurons.beta.item() for neurons in step.neurons]),
        "threshold": json.dumps([neurons.threshold.item() for neurons in step.neurons]),
        "spike_condition": "U > threshold (strict)",
        "reset": config.reset,
        "membranes": "U[t], before the reset that the spike of step t causes",
        "initial_membranes": "0",
        "image": f"float32 [N, channels, height, width], {'pixel / 255' if direct else 'spikes of the step, 0 or 1'}",
        "encoding": _ENCODING[config.encoding],
        "time_steps": str(config.time_steps),
        "time_layout": "time first: [T, N, ...]",
        "readout": "class = argmax of the spike counts of the outputs over the window; the lowest index on ties",
    }


def finish(model: onnx.ModelProto, metadata: dict[str, str]) -> onnx.ModelProto:
    """The model as it is written: metadata set, every shape inferred and stored, checked.

    Its IR version is the oldest that knows its operator sets, so that old runtimes read it.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the graph is not valid.
    """
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    onnx.helper.set_model_props(model, metadata)
    check(model)
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def check(model: onnx.ModelProto) -> None:
    """The full check of onnx: structure, types and strict shape inference.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the graph is not valid.
    """
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """The texts in `metadata_props`."""
    return {prop.key: prop.value for prop in model.metadata_props}
