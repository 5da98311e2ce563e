"""What an ONNX file says of itself: for the manifest, and whether it holds the trained parameters."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from csnn_jax.errors import first_line
from export import reference, semantics
from export.graphs.onnx_file import check, metadata_of


def describe(model: onnx.ModelProto) -> dict[str, Any]:
    """Operator sets, operators with their number of nodes, functions, inputs with their initial values, outputs."""
    initial = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        "ir_version": model.ir_version,
        "opset": {opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
        "operators": dict(sorted(Counter(_operators(model.graph)).items())),
        "functions": {
            f"{function.domain}::{function.name}": dict(sorted(Counter(node.op_type for node in function.node).items()))
            for function in model.functions
        },
        "inputs": [_value(value, _initial(value.name, initial)) for value in model.graph.input],
        "outputs": [_value(value, None) for value in model.graph.output],
        "metadata": metadata_of(model),
    }


def problems(model: onnx.ModelProto, step: reference.Step) -> Iterator[str]:
    """What is wrong with a file as such: not valid ONNX, other parameters than the network's, other semantics.

    A float parameter must be there bit for bit; an int8 one must be within half a quantisation step of it.
    """
    try:
        check(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        yield f"is not valid ONNX: {first_line(error)}"
    found = {tensor.name: tensor for graph in graphs(model.graph) for tensor in graph.initializer}
    parameters = {name: value.numpy() for name, value in step.state_dict().items()}
    for name, expected in parameters.items():
        if name in found:
            if not np.array_equal(numpy_helper.to_array(found[name]), expected):
                yield f"{name} is not the trained one"
        elif f"{name}_quantized" in found:
            yield from _quantised(name, expected, found)
        elif not name.startswith("lif"):  # those may be attributes of a node
            yield f"{name} is missing"
    for node in model.graph.node:
        if node.domain == "csnn":
            yield from _attributes(node, parameters)
    if metadata_of(model) != semantics.of_graph(step):
        yield "its metadata does not state the network's semantics"


def _quantised(name: str, expected: np.ndarray, found: dict[str, onnx.TensorProto]) -> Iterator[str]:
    values = numpy_helper.to_array(found[f"{name}_quantized"]).astype(np.float64)
    tensor = found.get(f"{name}_scale", found.get(f"{name}_quantized_scale"))
    if tensor is None or values.shape != expected.shape:
        yield f"{name}_quantized has no scale, or not the shape {list(expected.shape)}"
        return
    scale = numpy_helper.to_array(tensor).astype(np.float64).reshape(-1, *[1] * (expected.ndim - 1))
    if not (np.abs(values * scale - expected) <= 0.5001 * scale).all():
        yield f"{name}_quantized is not the trained one, rounded"


def _attributes(node: onnx.NodeProto, parameters: dict[str, np.ndarray]) -> Iterator[str]:
    for attribute in node.attribute:
        expected = parameters.get(f"{node.name}.{attribute.name}")
        if expected is not None and np.float32(attribute.f) != expected:
            yield f"{node.name}.{attribute.name} is {attribute.f}, not the trained {expected}"


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those inside its loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def _operators(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of all nodes' operators, those inside loops too."""
    for node in (node for inner in graphs(graph) for node in inner.node):
        yield f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def _value(value: onnx.ValueInfoProto, initial: float | int | None) -> dict[str, Any]:
    tensor = value.type.tensor_type
    described = {
        "name": value.name,
        "type": onnx.TensorProto.DataType.Name(tensor.elem_type).lower(),
        "shape": [dim.dim_param or dim.dim_value for dim in tensor.shape.dim],
    }
    return described if initial is None else described | {"initial": initial}


def _initial(name: str, initializers: dict[str, onnx.TensorProto]) -> float | int | None:
    """Initial value of an input: the graph's own default, 0 for a membrane, none for the image."""
    if name in initializers:
        return numpy_helper.to_array(initializers[name]).item()
    return 0.0 if name.startswith("mem") else None
