"""Shared by all ONNX files of a bundle: tensor names, reading and writing, the final checks."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import numpy_helper

from csnn_jax import reading
from csnn_jax.config.graph import IMAGE
from csnn_jax.config.network import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic


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


def finish(model: onnx.ModelProto, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Sets the model's metadata, infers and stores every shape, and checks the model.

    Its IR version is the oldest that supports its operator sets, so old runtimes can read it.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the graph isn't valid.
    """
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """The contents of `metadata_props`."""
    return {prop.key: prop.value for prop in model.metadata_props}


def describe(model: onnx.ModelProto) -> dict[str, Any]:
    """Operator sets, operators with their number of nodes, inputs with their initial values, outputs."""
    initial = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        "ir_version": model.ir_version,
        "opset": {opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
        "operators": dict(sorted(Counter(node.op_type for one in graphs(model.graph) for node in one.node).items())),
        "inputs": [_value(value, _initial(value.name, initial)) for value in model.graph.input],
        "outputs": [_value(value, None) for value in model.graph.output],
    }


def differences(expected: Message, received: Message, where: str = "") -> Iterator[str]:
    """How two protobuf messages of one type differ, one line for each field, with its path.

    Args:
        expected: the message that this version writes.
        received: the message that was read; unknown fields count as differences.
        where: the path of both.
    """
    if len(UnknownFieldSet(received)):
        yield f"{where or 'the file'} has a field that isn't part of ONNX"
    fields = ({field.name: (field, value) for field, value in one.ListFields()} for one in (expected, received))
    mine, other = fields
    for name in {**mine, **other}:
        place = f"{where}.{name}" if where else name
        if name not in mine or name not in other:
            yield f"{place} is {'missing' if name in mine else 'unexpected'}"
        elif isinstance(received, onnx.TensorProto) and mine[name][1] != other[name][1]:
            yield f"{place} doesn't match what this version makes from the weights"
        else:
            yield from _values(mine[name][1], other[name][1], place)


def _values(expected: Any, received: Any, place: str) -> Iterator[str]:
    """`differences` between two values of a field."""
    if isinstance(expected, Message):
        yield from differences(expected, received, place)
    elif isinstance(expected, str | bytes | int | float):
        if expected != received:
            yield f"{place} is {received!r:.60}, expected {expected!r:.60}"
    elif len(expected) != len(received):
        left = [_label(one) for one in received if one not in list(expected)]
        yield f"{place} has {len(received)} entries, expected {len(expected)}{': ' * bool(left)}{', '.join(left[:3])}"
    else:
        for number, (one, two) in enumerate(zip(expected, received, strict=True)):
            yield from _values(one, two, f"{place}[{_label(one) or number}]")


def _label(value: Any) -> str:
    """The name of a node, tensor, etc., for messages."""
    if not isinstance(value, Message):
        return ""
    fields = {field.name: content for field, content in value.ListFields()}
    return str(fields.get("name") or fields.get("key") or "")


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those inside its loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def _value(value: onnx.ValueInfoProto, initial: float | int | None) -> dict[str, Any]:
    tensor = value.type.tensor_type
    described = {
        "name": value.name,
        "type": onnx.TensorProto.DataType.Name(tensor.elem_type).lower(),
        "shape": [dim.dim_param or dim.dim_value for dim in tensor.shape.dim],
    }
    return described if initial is None else described | {"initial": initial}


def _initial(name: str, initializers: dict[str, onnx.TensorProto]) -> float | int | None:
    """Initial value of an input: the graph's default, 0 for a state, None for the image."""
    if name in initializers:
        return numpy_helper.to_array(initializers[name]).item()
    return None if name in (IMAGE, "images") else 0.0


def save_tensors(path: Path, kind: str, arrays: list[np.ndarray], values: Sequence[onnx.ValueInfoProto]) -> None:
    """Writes `{kind}_0.pb`, `{kind}_1.pb`, ... into the folder, named after a graph's inputs or outputs."""
    for number, array in enumerate(arrays):
        tensor = numpy_helper.from_array(array, values[number].name)
        write_atomic(path / f"{kind}_{number}.pb", tensor.SerializeToString())


def load_tensors(path: Path, kind: str) -> list[np.ndarray]:
    """Reads `{kind}_0.pb`, `{kind}_1.pb`, ... up to the first missing number.

    Raises:
        UserError: a file isn't a tensor.
    """
    arrays: list[np.ndarray] = []
    while (file := path / f"{kind}_{len(arrays)}.pb").is_file():
        tensor = read_tensor(file)
        try:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                raise ValueError("its values are in another file")
            arrays.append(numpy_helper.to_array(tensor).copy())
        except (ValueError, TypeError) as error:
            raise UserError(f"{file}: expected an ONNX tensor: {error}") from None
    return arrays


def read_tensor(file: Path) -> onnx.TensorProto:
    """Reads one tensor, but no other files that it refers to.

    Raises:
        UserError: it isn't a tensor.
    """
    try:
        return onnx.TensorProto.FromString(reading.read(file, "an ONNX tensor", reading.PROTOBUF))
    except DecodeError as error:
        raise UserError(f"{file}: expected an ONNX tensor: {error}") from None
