"""The int8 graph: the step graph but for its roundings."""

import numpy as np
import onnx
import pytest
import torch
from export_networks import STACKS, case
from onnx import numpy_helper

from export import reference
from export.proof.equality import equality, windows
from export.proof.runners import OnnxRunner

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("name", STACKS)
def test_the_quantised_graph_holds_int8_weights_and_float_membranes(name):
    made = case(name)
    graph = made.models["step_int8.onnx"].graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    weighted = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert [node.name for node in weighted] == [layer.name for layer in made.config.layers]
    for node in weighted:
        x, weight, bias = (makers[tensor] for tensor in node.input)
        assert x.op_type == weight.op_type == bias.op_type == "DequantizeLinear"
        assert held[weight.input[0]].data_type == onnx.TensorProto.INT8
        assert held[bias.input[0]].data_type == onnx.TensorProto.INT32
        assert held[weight.input[1]].dims == [held[weight.input[0]].dims[0]]  # a scale per output channel
        assert f"{node.name}.weight" not in held
        assert makers[x.input[0]].op_type == "QuantizeLinear"
        (user,) = [user for user in graph.node if node.output[0] in user.input]
        assert user.op_type == "QuantizeLinear"
    assert all(makers[value.name].op_type in ("Cast", "Sub", "Add") for value in graph.output)
    found = equality(made.step, OnnxRunner(made.models["step_int8.onnx"]), windows(made.step, [made.x]))
    assert found["different_membranes"] > 0 and found["different_spikes"] < 0.1 * found["spikes"], "it is approximate"


def test_the_ranges_are_taken_over_the_whole_window():
    made = case("default")
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.models["step_int8.onnx"].graph.initializer}
    spikes = reference.trace(made.step, made.x, 12).spikes[2]
    currents = spikes @ torch.from_numpy(made.tensors["fc2.weight"].T) + torch.from_numpy(made.tensors["fc2.bias"])
    scale, zero = float(held["fc2_scale"]), int(held["fc2_zero_point"])
    assert abs((255 - zero) * scale - currents.max()) <= scale
    assert abs(-zero * scale - currents.min()) <= scale
    assert currents[0].max() < currents.max() - 2 * scale  # the first step alone would not have shown it
    assert held["image_scale"] == np.float32(1 / 256) and held["spikes1_scale"] == np.float32(1 / 255), "both exact"
