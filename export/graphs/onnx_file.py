"""Shared by all ONNX files of a bundle: tensor names, reading and writing, the final checks."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from csnn_jax import reading
from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic


def current_name(config: ModelConfig, number: int) -> str:
    """The input tensor of the neurons of layer `number` (from 1), I[t]."""
    graph = config.graph
    return graph.source(graph.neurons[number - 1]).name


def output_name(config: ModelConfig) -> str:
    """The tensor that determines the class: the last layer's spikes S[t], or its membranes U[t]."""
    return config.readout


def spikes_name(config: ModelConfig, number: int) -> str:
    """The output tensor of the neurons of layer `number` (from 1): spikes S[t], or the output for the last layer."""
    return output_name(config) if number == len(config.graph.neurons) else f"spikes{number}"


def load(path: Path) -> onnx.ModelProto:
    """Reads an ONNX file, but no other files that it refers to.

    Raises:
        UserError: it's missing or isn't an ONNX file.
    """
    try:
        return onnx.ModelProto.FromString(reading.read(path, "an ONNX file", reading.PROTOBUF))
    except (DecodeError, ValueError) as error:
        raise UserError(f"{path}: expected an ONNX file: {error}") from None


def save(model: onnx.ModelProto, path: Path) -> None:
    """Writes an ONNX file.

    Raises:
        UserError: it can't be written.
    """
    write_atomic(path, model.SerializeToString())


def finish(model: onnx.ModelProto, metadata: dict[str, str]) -> onnx.ModelProto:
    """Sets the model's metadata, infers and stores every shape, and checks the model.

    Its IR version is the oldest that supports its operator sets, so old runtimes can read it.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the graph isn't valid.
    """
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    onnx.helper.set_model_props(model, metadata)
    check(model)
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def check(model: onnx.ModelProto) -> None:
    """Runs onnx's full check: structure, types and strict shape inference.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the graph isn't valid.
    """
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """The contents of `metadata_props`."""
    return {prop.key: prop.value for prop in model.metadata_props}
