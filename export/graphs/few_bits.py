"""Weights of few bits in a step graph: whole numbers, from which DequantizeLinear makes the floats of the plain graph.

A weight is a whole number times its neuron's power of two, so the product is exact in any runtime.
"""

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.layouts import Tensors, units
from export.graphs.onnx_file import finish, metadata_of

WIDEST_INT4 = 4
"""Bits of a weight, with its sign, that fit into an int4."""
INT8_OPSET, INT4_OPSET = 19, 21
"""The first operator sets whose DequantizeLinear onnx's reference evaluator has, and that takes int4."""
USUAL_OPSET = 20
DEQUANTIZE = "DequantizeLinear"
"""The operator of the first nodes of a packed graph, one a layer; a plain one has none."""


def opset(bits: int | None, asked: int | None = None) -> int:
    """The operator set of the files of a network with so many bits: that asked for, or the usual one, or int4's.

    Raises:
        UserError: that asked for is too early.
    """
    if asked is None:
        return INT4_OPSET if _fit_int4(bits) else USUAL_OPSET
    if bits is not None and asked < INT8_OPSET:
        raise UserError(f"--opset {asked}: expected {INT8_OPSET} or more for weights of {bits} bits")
    return asked


def packed(plain: onnx.ModelProto, config: ModelConfig, tensors: Tensors) -> onnx.ModelProto:
    """A step graph with its weights as int8, or int4 where they fit and its operator set has that.

    `conv1.weight` then is what a DequantizeLinear makes of the constants `conv1.weight_int` and `conv1.weight_scale`.

    Args:
        plain: as `step_graph.step` makes it.
        config: its stack.
        tensors: its parameters, on their grids.

    Returns:
        The graph; `plain` itself for a network whose weights have as many bits as stay exact.
    """
    if config.weight_bits is None:
        return plain
    narrow = _fit_int4(config.weight_bits) and plain.opset_import[0].version >= INT4_OPSET
    kind = ml_dtypes.int4 if narrow else np.int8
    model = onnx.ModelProto()
    model.CopyFrom(plain)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for layer in config.layers:
        weight = f"{layer.name}.weight"
        whole, scale = units(layer, tensors)
        names = [f"{weight}_int", f"{weight}_scale"]
        nodes.append(helper.make_node(DEQUANTIZE, names, [weight], name=f"{layer.name}.{DEQUANTIZE}", axis=0))
        model.graph.initializer.remove(held[weight])
        for array, name in zip((whole.astype(kind), scale), names, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(array, name))
    nodes += plain.graph.node
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return finish(model, metadata_of(plain))


def is_packed(model: onnx.ModelProto) -> bool:
    """Whether a graph has such weights."""
    return any(node.op_type == DEQUANTIZE for node in model.graph.node)


def width(model: onnx.ModelProto) -> int | None:
    """Bits of the integers that a graph's weights are: 8, or 4, which few tools know; None: they are floats."""
    if not is_packed(model):
        return None
    return 4 if any(tensor.data_type == onnx.TensorProto.INT4 for tensor in model.graph.initializer) else 8


def _fit_int4(bits: int | None) -> bool:
    return bits is not None and bits <= WIDEST_INT4
