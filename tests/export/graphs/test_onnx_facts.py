"""What an ONNX file says of itself, and what is wrong with one of other parameters."""

import numpy as np
import onnx
import pytest
from export_networks import case, changed, with_reset

from export.graphs import onnx_facts


def test_a_file_is_described():
    made = case("other")
    found = onnx_facts.describe(made.models["sequence.onnx"])
    assert found["opset"] == {"ai.onnx": 20} and found["operators"]["Loop"] == 1
    assert found["operators"]["Conv"] == 2  # one before the loop, one in it
    image, steps = found["inputs"]
    assert image == {"name": "image", "type": "float", "shape": ["N", 2, 12, 10]}
    assert steps == {"name": "time_steps", "type": "int64", "shape": [], "initial": 12}
    lif = onnx_facts.describe(made.models["step_lif.onnx"])
    assert lif["opset"]["csnn"] == 1 and lif["operators"]["csnn::LIF"] == 4
    assert lif["functions"]["csnn::LIF"]["Greater"] == 2
    assert lif["inputs"][1] == {"name": "mem1", "type": "float", "shape": ["N", 5, 6, 5], "initial": 0.0}


@pytest.mark.parametrize("file", ["step.onnx", "step_b1.onnx", "step_lif.onnx", "sequence.onnx", "step_int8.onnx"])
def test_nothing_is_wrong_with_our_own_files(file):
    made = case("other")
    assert [*onnx_facts.problems(made.models[file], made.step)] == []


@pytest.mark.parametrize(
    ("file", "name", "amount", "said"),
    [
        ("step.onnx", "conv2.bias", 1e-6, "conv2.bias is not the trained one"),
        ("step_lif.onnx", "fc1.weight", 1e-6, "fc1.weight is not the trained one"),
        ("sequence.onnx", "fc2.weight", 1e-6, "fc2.weight is not the trained one"),
        ("step_int8.onnx", "fc2.weight_quantized", 1, "fc2.weight_quantized is not the trained one, rounded"),
    ],
)
def test_one_weight_that_is_another_is_named(file, name, amount, said):
    made = case("other")

    def change(value: np.ndarray) -> np.ndarray:
        value.flat[np.abs(value.astype(np.int64) if value.dtype == np.int8 else value).argmin()] += value.dtype.type(
            amount
        )
        return value

    assert [*onnx_facts.problems(changed(made.models[file], name, change), made.step)] == [said]


def test_other_neurons_and_another_reset_are_named():
    made = case("other")
    model = onnx.ModelProto()
    model.CopyFrom(made.models["step_lif.onnx"])
    next(attribute for attribute in model.graph.node[2].attribute if attribute.name == "beta").f = 0.25
    (problem,) = onnx_facts.problems(model, made.step)
    assert problem.startswith("lif1.beta is 0.25, not the trained ")
    found = [*onnx_facts.problems(made.models["step.onnx"], with_reset(made, "subtract"))]
    assert found == ["its metadata does not state the network's semantics"]
