"""What an ONNX file says of itself, and where two of them differ."""

import functools

import numpy as np
import onnx
from export_networks import case, changed

from export.graphs import onnx_facts


def test_a_file_is_described():
    made = case("other")
    found = onnx_facts.describe(made.models["sequence.onnx"])
    assert found["opset"] == {"ai.onnx": 20} and found["operators"]["Loop"] == 1
    assert found["operators"]["Conv"] == 2  # one before the loop, one in it
    image, steps = found["inputs"]
    assert image == {"name": "image", "type": "float", "shape": ["N", 2, 12, 10]}
    assert steps == {"name": "time_steps", "type": "int64", "shape": [], "initial": 12}
    step = onnx_facts.describe(made.models["step.onnx"])
    assert step["inputs"][1] == {"name": "mem1", "type": "float", "shape": ["N", 5, 6, 5], "initial": 0.0}


def test_one_weight_that_is_another_is_named():
    models = case("other").models
    for file, name, amount in (("step.onnx", "conv2.bias", 1e-6), ("step_int8.onnx", "fc2.weight_quantized", 1)):
        (line,) = onnx_facts.differences(
            models[file], changed(models[file], name, functools.partial(near, amount=amount))
        )
        assert line.startswith(f"graph.initializer[{name}].raw_data is not what this version makes")
        assert [*onnx_facts.differences(models[file], changed(models[file], name, lambda value: value))] == []


def near(value: np.ndarray, amount: float) -> np.ndarray:
    """The array with another smallest number."""
    value.flat[np.abs(value.astype(np.float64)).argmin()] += value.dtype.type(amount)
    return value


def test_a_difference_is_told_by_its_place():
    model = case("other").models["sequence.onnx"]
    other = onnx.ModelProto()
    other.CopyFrom(model)
    other.graph.node[0].doc_string = "certified"
    other.graph.node[0].attribute[1].ints[0] = 7
    loop = next(node for node in other.graph.node if node.op_type == "Loop").attribute[0].g
    loop.node.add(op_type="Identity", name="more")
    other.MergeFromString(b"\xa2\x1f\x04evil")
    count, name = len(loop.node) - 1, model.graph.node[0].attribute[1].name
    assert [*onnx_facts.differences(model, other)] == [
        "the file has a field that ONNX doesn't know",
        f"graph.node[conv1].attribute[{name}].ints[0] is 7, expected 1",
        "graph.node[conv1].doc_string is too much",
        f"graph.node[window].attribute[body].g.node has {count + 1} entries, expected {count}: more",
    ]
