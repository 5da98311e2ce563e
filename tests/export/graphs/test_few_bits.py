"""Weights of few bits are stored as integers, and are the trained network's floats when a file runs."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from export_networks import FLAT, OTHER, Case, changed, firing
from onnx import numpy_helper
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from export.graphs import few_bits, onnx_file, step_graph
from export.proof.equality import equality, windows
from export.proof.runners import onnx_runner

pytestmark = pytest.mark.numeric

DENSE = ModelConfig((28, 28, 1), (), hidden=(16,), time_steps=12)
"""Below 8 bits, its first layer stays exact, and its neurons differ in their number of bits."""


def made(config: ModelConfig, bits: int) -> Case:
    return firing(replace(config, weight_bits=bits))


def held(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


@pytest.mark.parametrize(("config", "bits"), [(OTHER, 3), (DENSE, 8)], ids=["3 bits", "8 bits of a dense network"])
def test_files_with_few_bits_are_small(config, bits):
    case = made(config, bits)
    step, static, whole = (case.models[file] for file in ("step.onnx", "step_b1.onnx", "sequence.onnx"))
    kind, in_a_byte = (onnx.TensorProto.INT4, 2) if bits <= 4 else (onnx.TensorProto.INT8, 1)
    for node in case.config.graph.weighted:
        for tensors in map(held, (step, static, whole)):
            weight, scale = (tensors[f"{node.name}.weight_{what}"] for what in ("int", "scale"))
            count = int(np.prod(weight.dims))
            assert weight.data_type == kind and len(weight.raw_data) == -(-count // in_a_byte)
            assert (np.frexp(numpy_helper.to_array(scale))[0] == 0.5).all() and [*scale.dims] == [node.channels]
            assert f"{node.name}.weight" not in tensors
    assert [node.name for node in whole.graph.node if node.op_type == few_bits.DEQUANTIZE] == [
        f"{node.name}.DequantizeLinear" for node in case.config.graph.weighted
    ]
    loop = [node for graph in [*onnx_file.graphs(whole.graph)][1:] for node in graph.node]
    assert loop and all(node.op_type != few_bits.DEQUANTIZE for node in loop)


def test_int4_needs_opset_21_and_becomes_int8_in_earlier_ones():
    assert [few_bits.opset(*bits) for bits in ((None,), (8,), (5,), (4,), (2,), (3, 20), (None, 18))] == [
        *(20, 20, 20, 21, 21, 20, 18),
    ]
    with refusing(UserError, "opset 18", 19, "3 bits"):
        few_bits.opset(3, 18)
    case = made(OTHER, 3)
    model = few_bits.packed(step_graph.step(case.config, case.tensors, 20), case.config, case.tensors)
    assert held(model)["fc1.weight_int"].data_type == onnx.TensorProto.INT8
    assert equality(case.step, onnx_runner(model), windows(case.step, [case.x])).first is None


def test_without_few_bits_a_graph_is_unchanged():
    case = firing(FLAT)
    plain = step_graph.step(case.config, case.tensors)
    assert few_bits.packed(plain, case.config, case.tensors) is plain and not few_bits.is_packed(plain)


@pytest.mark.parametrize("bits", [3, 8])
def test_one_changed_integer_weight_or_scale_is_named_and_has_an_effect(bits):
    case = made(OTHER, bits)
    model = case.models["step.onnx"]
    for name, change in (
        ("conv1.weight_int", lambda value: (value.astype(int) * -1).astype(value.dtype)),
        ("conv1.weight_scale", lambda value: value * np.float32(2)),
    ):
        other = changed(model, name, change)
        (line,) = onnx_file.differences(model, other)
        assert line.startswith(f"graph.initializer[{name}].raw_data ")
        assert equality(case.step, onnx_runner(other), windows(case.step, [case.x])).first is not None
