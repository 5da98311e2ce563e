"""`sequence.onnx`: the whole window in one call, the time loop inside as an ONNX `Loop`."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from csnn_jax.config import ModelConfig
from export.graphs.onnx_file import current_name, finish, membrane_names, metadata_of
from export.proof.network import membrane_shapes

_FLOAT, _INT64, _BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
_node, _value = helper.make_node, helper.make_tensor_value_info


def sequence(step: onnx.ModelProto, config: ModelConfig, frames: bool = False) -> onnx.ModelProto:
    """Builds the loop around a step graph.

    Where one image is presented at every step, its inputs are (image [N, C, H, W], time_steps), and what leads to the
    first layer's neurons is computed once, before the loop. `time_steps` is an int64 scalar that may be left out and
    is then the configuration's. Otherwise the one input is images [T, N, C, H, W].

    Args:
        step: as `step_graph.step` makes it.
        config: its stack.
        frames: the data have a time axis of their own (spikes that an encoding makes have one in any case).

    Returns:
        The model, with the outputs (counts [N, classes], spikes [T, N, classes]).
    """
    frames = frames or config.encoding != "direct"
    nodes = [_renamed(node, "spikes", "spikes_now") for node in step.graph.node]
    hoisted = 0 if frames else 1 + next(i for i, node in enumerate(nodes) if current_name(config, 1) in node.output)
    channels, size = config.input_shape[-1], config.input_shape[:2]
    if frames:
        inputs = [_value("images", _FLOAT, ["T", "N", channels, *size])]
        before = [_node("Shape", ["images"], ["steps"], start=0, end=1), _node("Squeeze", ["steps"], ["time_steps"])]
        per_step = [_node("Gather", ["images", "t"], ["image"], axis=0)]
    else:
        inputs = [_value("image", _FLOAT, ["N", channels, *size]), _value("time_steps", _INT64, [])]
        before = nodes[:hoisted]
        per_step = []
    states = [*membrane_names(config), "counts"]
    # What only the loop uses is kept inside: of outer constants ONNX Runtime prepacks no weights, a third slower.
    outer = {name for node in before for name in node.input}
    inside = [tensor for tensor in step.graph.initializer if tensor.name not in outer]
    loop = _node(
        "Loop",
        ["time_steps", "", *(f"{state}_first" for state in states)],
        [*(f"{state}_last" for state in states[:-1]), "counts", "spikes"],
        name="window",
        body=_body(config, [*per_step, *nodes[hoisted:]], inside),
    )
    shapes = [*membrane_shapes(config), (config.num_classes,)]
    zeros, constants = _zeros(states, shapes, inputs[0].name, batch_axis=1 if frames else 0)
    if not frames:
        constants.append(numpy_helper.from_array(np.array(config.time_steps, np.int64), "time_steps"))
    outputs = [
        _value("counts", _FLOAT, ["N", config.num_classes]),
        _value("spikes", _FLOAT, ["T", "N", config.num_classes]),
    ]
    kept = [tensor for tensor in step.graph.initializer if tensor.name in outer]
    graph = helper.make_graph([*before, *zeros, loop], "csnn_sequence", inputs, outputs, [*kept, *constants])
    model = helper.make_model(graph, opset_imports=step.opset_import, producer_name=step.producer_name)
    model.producer_version = step.producer_version
    return finish(model, metadata_of(step))


def _body(
    config: ModelConfig, nodes: Sequence[onnx.NodeProto], constants: Sequence[onnx.TensorProto]
) -> onnx.GraphProto:
    """One round of the loop: (t, go on, membranes, counts) -> (go on, membranes, counts, this step's spikes)."""
    shapes: dict[str, list[str | int | None]] = {
        name: ["N", *shape] for name, shape in zip(membrane_names(config), membrane_shapes(config), strict=True)
    }
    classes: list[str | int | None] = ["N", config.num_classes]
    end = [_node("Add", ["counts_before", "spikes_now"], ["counts_now"]), _node("Identity", ["go_on"], ["go_on_next"])]
    before = [_value(name, _FLOAT, shape) for name, shape in shapes.items()]
    after = [_value(f"{name}_next", _FLOAT, shape) for name, shape in shapes.items()]
    inputs = [_value("t", _INT64, []), _value("go_on", _BOOL, []), *before, _value("counts_before", _FLOAT, classes)]
    outputs = [_value("go_on_next", _BOOL, []), *after, _value("counts_now", _FLOAT, classes)]
    outputs.append(_value("spikes_now", _FLOAT, classes))
    return helper.make_graph([*nodes, *end], "csnn_step", inputs, outputs, constants)


def _zeros(
    names: Sequence[str], shapes: Sequence[tuple[int, ...]], source: str, batch_axis: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes and constants that make `{name}_first`, zeros of [batch of `source`, *shape], for every name."""
    nodes = [_node("Shape", [source], ["batch"], start=batch_axis, end=batch_axis + 1)]
    constants = []
    for name, shape in zip(names, shapes, strict=True):
        constants.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}.shape"))
        nodes.append(_node("Concat", ["batch", f"{name}.shape"], [f"{name}.batch_shape"], axis=0))
        nodes.append(_node("ConstantOfShape", [f"{name}.batch_shape"], [f"{name}_first"]))
    return nodes, constants


def _renamed(node: onnx.NodeProto, old: str, new: str) -> onnx.NodeProto:
    """A copy of a node that writes `new` instead of `old`."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.output[:] = [new if name == old else name for name in node.output]
    return copy
