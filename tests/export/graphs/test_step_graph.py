"""The step graph is plain and readable; tests/test_matrix.py compares what it computes."""

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from backends import written
from export_networks import DELAYED, FLAT, GRAPH, RECURRENT, RESIDUAL, firing
from networks import network
from onnx import numpy_helper

from export import reference
from export.graphs import onnx_file, step_graph
from export.parts import step
from export.proof.equality import equality, problems, windows
from export.proof.runners import onnx_runner

PLAIN = {"Conv", "MaxPool", "AveragePool", "Flatten", "Gemm", "Greater", "Cast", "Mul", "Add", "Sub", "Sum"}
graphs = pytest.mark.parametrize(
    "config",
    [RECURRENT, replace(RECURRENT, neuron="synaptic"), GRAPH, RESIDUAL, DELAYED],
    ids=["recurrent", "recurrent synaptic", "graph", "residual", "delayed"],
)
structures = pytest.mark.parametrize(
    "name",
    [
        *("only outputs, no reset", "no pool, no bias, membranes", "powers of two", "synaptic, sums after"),
        "synaptic integrator, values per channel",
    ],
)


@structures
def test_the_step_graph_is_plain_and_readable(name):
    made, model = network(name), onnx_file.load(written(step, name) / "step.onnx")
    copied = {"Identity"} if made.config.readout == "membrane" else set()
    assert {node.op_type for node in model.graph.node} <= PLAIN | copied
    assert {node.domain for node in model.graph.node} == {""} and not model.functions
    layers = range(1, len(made.config.graph.neurons) + 1)
    names = ("mem",) if made.config.neuron == "leaky" else ("syn", "mem")
    states = [f"{name}{i}" for i in layers for name in names]
    output = "membrane" if made.config.readout == "membrane" else "spikes"
    assert [value.name for value in model.graph.input] == ["image", *states]
    assert [value.name for value in model.graph.output] == [output, *(f"{state}_next" for state in states)]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        batch, *rest = value.type.tensor_type.shape.dim
        assert batch.dim_param == "N" and all(dim.dim_value > 0 for dim in rest)
    plain = reference.Step(made.config, made.tensors)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    parameters = {f"{node}.{name}": v for node, values in plain.parameters.items() for name, v in values.items()}
    for key, value in parameters.items():
        if key in held:
            np.testing.assert_array_equal(held.pop(key), value.numpy())
        else:
            assert made.config.resets[int(key[3]) - 1] == "none" and key.startswith("lif")
    assert not held
    text = model.SerializeToString()
    assert not re.search(rb"\.py|site-packages|\baten\b", text)


def test_a_convolutions_result_is_added_by_a_sum_which_no_runtime_fuses_into_it():
    nodes = onnx_file.load(written(step, "no pool, no bias, membranes") / "step.onnx").graph.node
    convolutions = {node.output[0] for node in nodes if node.op_type == "Conv"}
    adders = [node.op_type for node in nodes if convolutions & {*node.input}]
    assert adders == ["Sum"] * len(convolutions)
    nodes = firing(DELAYED).models["step.onnx"].graph.node
    convolutions = {node.output[0] for node in nodes if node.op_type == "Conv"}
    assert {node.op_type for node in nodes if convolutions & {*node.input}} == {"Sum", "Identity"}


@pytest.mark.parametrize(("opset", "ir_version"), [(18, 8), (21, 10)])
def test_the_opset_is_the_requested_one(opset, ir_version):
    made = firing(FLAT)
    model = step_graph.step(made.config, made.tensors, opset)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version == ir_version
    assert problems("it", equality(made.step, onnx_runner(model), windows(made.step, [made.x]))) == []


@graphs
def test_layers_of_a_graph_are_numbered_in_its_order_and_no_name_is_used_twice(config):
    made = firing(config)
    model = made.models["step.onnx"]
    layers = json.loads(onnx_file.metadata_of(model)["layers"])
    assert [layer["neurons"] for layer in layers] == [node.name for node in config.graph.neurons]
    states = [f"{s}{i}" for i, n in enumerate(config.graph.neurons, 1) for s in n.operation.kind.states]
    if config is DELAYED:
        longest = {"image": 2, "conv1": 1, "lif1": 3, "mean": 2, "lif2": 2, "flat": 2, "mem": 4, "out": 2}
        states += [f"{name}@{delay}" for name, most in longest.items() for delay in range(1, most + 1)]
    assert [value.name for value in model.graph.input] == ["image", *states]
    assert [value.name for value in model.graph.output] == ["spikes", *(f"{state}_next" for state in states)]
    for graph in (model.graph, *onnx_file.graphs(made.models["sequence.onnx"].graph)):
        names = [value.name for value in (*graph.input, *graph.initializer)]
        names += [name for node in graph.node for name in node.output]
        assert Counter(names).most_common(1)[0][1] == 1 + ("time_steps" in names)  # it has an initial value
        operators = [node.name for node in graph.node if node.name]
        assert len(set(operators)) == len(operators)


def test_a_layers_reset_and_its_readers_share_the_spikes_of_the_step_before():
    nodes = firing(GRAPH).models["step.onnx"].graph.node
    compared = [node.input[0] for node in nodes if node.op_type == "Greater"]
    assert sorted(compared) == sorted([f"mem{i}{after}" for i in (1, 2, 3, 4) for after in ("", "_next")])


def test_inputs_that_are_added_one_by_one_are_added_to_the_state_by_operators_that_no_runtime_fuses():
    nodes = {node.output[0]: node for node in firing(GRAPH).models["step.onnx"].graph.node}
    state = nodes[nodes["mem1_next"].input[0]]
    assert state.op_type == "Sum" and nodes[state.input[1]].op_type == "Conv"  # back
    state = nodes[state.input[0]]
    assert state.op_type == "Sum" and nodes[state.input[1]].op_type == "Conv"  # mem1
    assert nodes[state.input[0]].op_type == "Mul"
    kinds, state = [], nodes["syn3_next"]
    while state.op_type == "Add":
        kinds.append(nodes[state.input[1]].op_type)
        state = nodes[state.input[0]]
    assert kinds == ["Mul", "Gemm", "Gemm"] and state.op_type == "Mul"


@structures
def test_every_shape_in_the_static_graph_is_static(name):
    graph = onnx_file.load(written(step, name) / "step_b1.onnx").graph
    produced = {output for node in graph.node for output in node.output}
    values = [*graph.input, *graph.output, *graph.value_info]
    assert produced <= {value.name for value in values}
    for value in values:
        dims = value.type.tensor_type.shape.dim
        assert dims[0].dim_value == 1 and all(dim.dim_value > 0 for dim in dims)
