"""Describes an ONNX file for the manifest, and compares two of them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import numpy_helper

from export.graphs.onnx_file import metadata_of


def describe(model: onnx.ModelProto) -> dict[str, Any]:
    """Operator sets, operators with their number of nodes, inputs with their initial values, outputs."""
    initial = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        "ir_version": model.ir_version,
        "opset": {opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
        "operators": dict(sorted(Counter(node.op_type for one in graphs(model.graph) for node in one.node).items())),
        "inputs": [_value(value, _initial(value.name, initial)) for value in model.graph.input],
        "outputs": [_value(value, None) for value in model.graph.output],
        "metadata": metadata_of(model),
    }


def differences(expected: Message, found: Message, where: str = "") -> Iterator[str]:
    """How two protobuf messages of one type differ, one line for each field, with its path.

    Args:
        expected: the message that this version writes.
        found: the message that was read; unknown fields count as differences.
        where: the path of both.
    """
    if len(UnknownFieldSet(found)):
        yield f"{where or 'the file'} has a field that isn't part of ONNX"
    fields = ({field.name: (field, value) for field, value in one.ListFields()} for one in (expected, found))
    mine, other = fields
    for name in {**mine, **other}:
        place = f"{where}.{name}" if where else name
        if name not in mine or name not in other:
            yield f"{place} is {'missing' if name in mine else 'unexpected'}"
        elif isinstance(found, onnx.TensorProto) and mine[name][1] != other[name][1]:
            yield f"{place} doesn't match what this version makes from the weights"
        else:
            yield from _values(mine[name][1], other[name][1], place)


def _values(expected: Any, found: Any, place: str) -> Iterator[str]:
    """`differences` between two values of a field."""
    if isinstance(expected, Message):
        yield from differences(expected, found, place)
    elif isinstance(expected, str | bytes | int | float):
        if expected != found:
            yield f"{place} is {found!r:.60}, expected {expected!r:.60}"
    elif len(expected) != len(found):
        left = [_label(one) for one in found if one not in list(expected)]
        yield f"{place} has {len(found)} entries, expected {len(expected)}{': ' * bool(left)}{', '.join(left[:3])}"
    else:
        for number, (one, two) in enumerate(zip(expected, found, strict=True)):
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
    """Initial value of an input: the graph's default, 0 for a membrane, None for the image."""
    if name in initializers:
        return numpy_helper.to_array(initializers[name]).item()
    return 0.0 if name.startswith("mem") else None
