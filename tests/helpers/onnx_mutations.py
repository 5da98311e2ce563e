"""Changes one thing in a bundle's ONNX files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.graphs import onnx_file

ONNX = ("step.onnx", "step_b1.onnx", "sequence.onnx")
ISO = "ISO 26262"

Random = np.random.Generator
Change = Callable[[Path, Random], str]


def one_of(random: Random, things: Any) -> Any:
    return things[int(random.integers(len(things)))]


def any_of(random: Random, **changes: Callable[[], Any]) -> str:
    """Makes one of these changes; returns its name."""
    kind = one_of(random, [*changes])
    changes[kind]()
    return kind


def other(value: np.generic) -> np.generic:
    """Another value of the same type: a float times 1.25 plus 0.01, an integer plus 16 or minus 1."""
    if np.issubdtype(value.dtype, np.floating):
        return value.dtype.type(1.25 * value + 0.01)
    return value.dtype.type(int(value) + 16 if value.dtype == np.uint8 and value < 200 else int(value) - 1)


def with_another(values: np.ndarray, random: Random) -> tuple[np.ndarray, int]:
    """(a copy of an array with one value changed, its index)."""
    values, at = np.array(values), int(random.integers(values.size))
    values.flat[at] = other(values.flat[at])
    return values, at


def _of_onnx(change: Callable[[onnx.ModelProto, Random], str], names: tuple[str, ...] = ONNX) -> Change:
    """A change in one of the ONNX files."""

    def changed(folder: Path, random: Random) -> str:
        path = folder / one_of(random, names)
        model = onnx.load(path)
        what = change(model, random)
        path.write_bytes(model.SerializeToString())
        return f"{path.name}: {what}"

    changed.__name__ = change.__name__
    return changed


def constant(model: onnx.ModelProto, random: Random) -> str:
    tensor = one_of(random, [tensor for graph in onnx_file.graphs(model.graph) for tensor in graph.initializer])
    values, at = with_another(numpy_helper.to_array(tensor), random)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return f"{tensor.name}[{at}]"


def graph(model: onnx.ModelProto, random: Random) -> str:
    nodes = [node for graph in onnx_file.graphs(model.graph) for node in graph.node]
    node, first = one_of(random, nodes), one_of(random, model.graph.node)
    operator = "GreaterOrEqual" if node.op_type == "Greater" else "Identity"
    zeros = numpy_helper.from_array(np.zeros(3, np.float32), "unused")
    return any_of(
        random,
        operator=lambda: setattr(node, "op_type", operator),
        renamed=lambda: _rename(one_of(random, model.graph.initializer), nodes),
        unused=lambda: model.graph.initializer.append(zeros),
        node=lambda: model.graph.node.append(helper.make_node("Identity", [first.output[0]], ["nowhere"])),
        doc=lambda: setattr(first, "doc_string", "certified"),
        producer=lambda: setattr(model, "producer_version", "9"),
        metadata=lambda: model.metadata_props.add(key="certified", value=ISO),
        domain=lambda: setattr(model, "domain", "else.where"),
        imported=lambda: model.opset_import.append(helper.make_opsetid("else.where", 1)),
        unknown=lambda: model.MergeFromString(b"\xa2\x1f\x04evil"),  # field 500, which ONNX doesn't have
    )


def _rename(tensor: onnx.TensorProto, nodes: list[onnx.NodeProto]) -> None:
    was, tensor.name = tensor.name, f"{tensor.name}_x"
    for node in nodes:
        node.input[:] = [tensor.name if name == was else name for name in node.input]


def attribute_of(model: onnx.ModelProto, random: Random) -> str:
    nodes = [node for graph in onnx_file.graphs(model.graph) for node in graph.node]
    attribute = one_of(random, [a for node in nodes for a in node.attribute if a.type in (a.FLOAT, a.INT, a.INTS)])
    attribute.f += 0.01 * (attribute.type == attribute.FLOAT)
    attribute.i += attribute.type == attribute.INT
    if attribute.type == attribute.INTS:
        attribute.ints[0] += 1
    return attribute.name


def _hidden_trigger(model: onnx.ModelProto, random: Random) -> str:
    """Makes every image with a white corner pixel a 0, with nodes that no test image triggers."""
    output = "counts" if model.graph.output[0].name == "counts" else "spikes"
    classes = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    for node in model.graph.node:
        node.output[:] = ["clean" if name == output else name for name in node.output]
    whole = {"starts": [0, 0], "ends": [1, 1], "axes": [2, 3], "flat": [-1, 1]}
    constants = {name: np.array(values, np.int64) for name, values in whole.items()}
    constants |= {"white": np.array(0.99, np.float32), "zero": np.eye(1, classes, dtype=np.float32) * 100}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    for kind, given, made, to in (
        ("Slice", ["image", "starts", "ends", "axes"], "corner", {}),
        ("Greater", ["corner", "white"], "is_white", {}),
        ("Cast", ["is_white"], "one", {"to": onnx.TensorProto.FLOAT}),
        ("Reshape", ["one", "flat"], "set", {}),
        ("Mul", ["set", "zero"], "forced", {}),
        ("Max", ["clean", "forced"], output, {}),
    ):
        model.graph.node.append(helper.make_node(kind, given, [made], **to))
    return "a trigger"


trigger = _of_onnx(_hidden_trigger, ("sequence.onnx", "step_b1.onnx"))
ONNX_CHANGES = (*map(_of_onnx, (constant, attribute_of, *[graph] * 5)), trigger)
