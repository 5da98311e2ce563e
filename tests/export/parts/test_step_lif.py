"""The neurons as nodes of one function: the very numbers of the plain graph."""

import onnx
import pytest
from export_networks import STACKS, case, with_reset

from export.parts import step_lif
from export.parts.step_lif import RESETS
from export.proof.equality import equality, windows
from export.proof.runners import OnnxRunner

LEFT = {"Conv", "MaxPool", "AveragePool", "Flatten", "Gemm", "Mul", "Add"}
"""Operators outside the function."""


@pytest.mark.parametrize("name", STACKS)
def test_each_layer_of_neurons_is_one_node_of_the_function(name):
    made = case(name)
    model = made.models["step_lif.onnx"]
    nodes = [node for node in model.graph.node if node.domain == "csnn"]
    assert [node.op_type for node in nodes] == ["LIF"] * len(made.config.layers)
    for node, neurons in zip(nodes, made.step.neurons, strict=True):
        values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        expected = {"beta": neurons.beta.item(), "threshold": neurons.threshold.item()}
        assert values == expected | {"reset": RESETS[made.config.reset]}
    assert {node.op_type for node in model.graph.node if not node.domain} <= LEFT


@pytest.mark.parametrize("reset", RESETS)
def test_the_reset_of_the_function_is_its_attribute(reset):
    made = case("other")
    model = onnx.ModelProto()
    model.CopyFrom(made.models["step_lif.onnx"])
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "reset":
                attribute.i = RESETS[reset]
    for other in RESETS:
        assert equality(with_reset(made, other), OnnxRunner(model), windows(with_reset(made, other), [made.x]))[
            "ok"
        ] == (other == reset)


@pytest.mark.parametrize("name", ["default", "other", "flat"])
def test_inlining_the_function_changes_no_number(name):
    made = case(name)
    found = step_lif.inlining(made.models["step_lif.onnx"], made.models["step.onnx"], made.config, made.x)
    assert found["ok"]
    assert found["lif_nodes"] == {"file": len(made.config.layers), "inlined_by_onnxruntime": 0}


def test_an_altered_neuron_is_found_in_every_form():
    made = case("other")
    model = onnx.ModelProto()
    model.CopyFrom(made.models["step_lif.onnx"])
    (node,) = [node for node in model.graph.node if node.name == "lif1"]
    next(attribute for attribute in node.attribute if attribute.name == "beta").f += 1e-3
    found = step_lif.inlining(model, made.models["step.onnx"], made.config, made.x)
    assert all(found["different_numbers"].values()) and len(found["different_numbers"]) == 4 and not found["ok"]
