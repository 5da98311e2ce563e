"""Low-bit weights in a step graph: integers, which DequantizeLinear converts to the plain graph's floats.

A weight is an integer times its neuron's power of two, so the product is exact in any runtime.
"""

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper

from csnn_jax.config.network import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.layouts import Tensors, units
from export.graphs.onnx_file import finish, metadata_of

WIDEST_INT4 = 4
"""Largest number of bits of a weight, including its sign, for int4."""
INT8_OPSET, INT4_OPSET = 19, 21
"""The first operator sets whose DequantizeLinear works in onnx's reference evaluator, and accepts int4."""
USUAL_OPSET = 20
DEQUANTIZE = "DequantizeLinear"
"""The operator of the first nodes of a packed graph, one for each layer; plain graphs don't have it."""


def opset(bits: int | None, asked: int | None = None) -> int:
    """The operator set for a network with weights of `bits` bits: `asked`, or by default the usual one or int4's.

    Raises:
        UserError: `asked` is too old.
    """
    if asked is None:
        return INT4_OPSET if _fit_int4(bits) else USUAL_OPSET
    if bits is not None and asked < INT8_OPSET:
        raise UserError(f"--opset {asked}: expected {INT8_OPSET} or more for weights of {bits} bits")
    return asked


def packed(plain: onnx.ModelProto, config: ModelConfig, tensors: Tensors) -> onnx.ModelProto:
    """A step graph with its weights as int8, or as int4 if they fit and its operator set supports it.

    `conv1.weight` is then computed by a DequantizeLinear from the constants `conv1.weight_int` and
    `conv1.weight_scale`.

    Args:
        plain: the graph from `step_graph.step`.
        config: its stack.
        tensors: its parameters, on their grids.

    Returns:
        The graph; `plain` itself if the network has no `weight_bits`.
    """
    if config.weight_bits is None:
        return plain
    narrow = _fit_int4(config.weight_bits) and plain.opset_import[0].version >= INT4_OPSET
    kind = ml_dtypes.int4 if narrow else np.int8
    model = onnx.ModelProto()
    model.CopyFrom(plain)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in config.graph.weighted:
        weight = f"{node.name}.weight"
        whole, scale = units(config, node, tensors)
        names = [f"{weight}_int", f"{weight}_scale"]
        nodes.append(helper.make_node(DEQUANTIZE, names, [weight], name=f"{node.name}.{DEQUANTIZE}", axis=0))
        model.graph.initializer.remove(held[weight])
        for array, name in zip((whole.astype(kind), scale), names, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(array, name))
    nodes += plain.graph.node
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return finish(model, metadata_of(plain))


def is_packed(model: onnx.ModelProto) -> bool:
    """Whether a graph has low-bit weights."""
    return any(node.op_type == DEQUANTIZE for node in model.graph.node)


def width(model: onnx.ModelProto) -> int | None:
    """Bits of a graph's integer weights: 8, or 4, which few tools support; None: they are floats."""
    if not is_packed(model):
        return None
    return 4 if any(tensor.data_type == onnx.TensorProto.INT4 for tensor in model.graph.initializer) else 8


def _fit_int4(bits: int | None) -> bool:
    return bits is not None and bits <= WIDEST_INT4
