"""One time step in plain ONNX operators, from `torch.onnx.export`, with readable names.

A tensor has the name of the layer that computes it (`conv1`, `pool1`, `spikes1`, `fc1`, ...; see onnx_file.py). The
other files of a bundle are built from this graph by these names.
"""

import ast
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import Tensors
from export import semantics
from export.graphs.onnx_file import finish, metadata_of, output_name, spikes_name
from export.reference import Step, state_shapes


def step(config: ModelConfig, tensors: Tensors, opset: int = 20) -> onnx.ModelProto:
    """The graph (image, mem1, mem2, ...) -> (spikes, mem1_next, mem2_next, ...) with a symbolic batch `N`.

    If neurons have more states, such as `syn1`, these come before `mem1`. If membranes determine the class, the first
    output is `membrane`.

    Args:
        config: the stack.
        tensors: its parameters as returned by `weights.load`.
        opset: version of ONNX's operator set, 18 to 21.

    Returns:
        The model; its operators are Conv, MaxPool or AveragePool, Flatten, Gemm, Greater, Cast, Mul, Add, Sub, a Sum
            after a Conv without a pool, and one Identity if `membrane` equals the last layer's next `mem`.
    """
    network = Step(config, tensors)
    model = _exported(network, opset)
    _flatten(model)
    _keep_apart(model)
    RemoveUnusedNodesPass()(model)
    _rename(model, config)
    ClearMetadataAndDocStringPass()(model)  # torch's metadata contains local paths
    model.graph.name = "csnn_step"
    proto = ir.to_proto(model)
    del proto.graph.value_info[:]  # torch gives the batch a different name there
    return finish(proto, semantics.of_graph(network))


def static(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with static shapes and batch 1, for toolchains that allocate memory ahead of time."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return finish(fixed, metadata_of(model))


def _exported(network: Step, opset: int) -> ir.Model:
    memories = list(state_shapes(network.config))
    batch = 2  # torch treats 1 as a constant
    height, width, channels = network.config.input_shape
    image = torch.zeros(batch, channels, height, width)
    any_batch = {0: torch.export.Dim.DYNAMIC}
    with _quiet_exporter():
        # The exporter's optimizer would merge equal thresholds of different layers.
        program = torch.onnx.export(
            network,
            (image, *network.initial_states(batch)),
            dynamo=True,
            optimize=False,
            verbose=False,
            opset_version=opset,
            input_names=["image", *memories],
            output_names=[output_name(network.config), *(f"{name}_next" for name in memories)],
            dynamic_shapes={"x": any_batch, "states": (any_batch,) * len(memories)},
        )
    assert program is not None
    for value in (*program.model.graph.inputs, *program.model.graph.outputs):
        assert value.shape is not None
        value.shape = ir.Shape(["N", *value.shape[1:]])
    return program.model


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silences torch's exporter about missing torchvision operators and its own deprecated calls."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _layer(node: ir.Node) -> str:
    """The module of `reference.Step` that a node comes from: conv1, pool1, lif1, flatten3, fc1, ..."""
    *_, module, _ = ast.literal_eval(node.metadata_props["pkg.torch.onnx.name_scopes"])
    return str(module)


def _flatten(model: ir.Model) -> None:
    """Replaces each Reshape before a Gemm, whose shape torch computes from the batch, with a Flatten."""
    for node in model.graph:
        if node.op_type == "Reshape" and any(user.op_type == "Gemm" for user in node.outputs[0].consumers()):
            node.op_type = "Flatten"
            node.resize_inputs(1)
            node.attributes.clear()
            node.attributes.add(ir.AttrInt64("axis", 1))


def _keep_apart(model: ir.Model) -> None:
    """Turns each Add of a Conv's result into a Sum: ONNX Runtime would fuse an Add into the Conv, which rounds."""
    for node in model.graph:
        makers = [value.producer() for value in node.inputs if value is not None]
        if node.op_type == "Add" and any(maker is not None and maker.op_type == "Conv" for maker in makers):
            node.op_type = "Sum"


def _rename(model: ir.Model, config: ModelConfig) -> None:
    """Names nodes and tensors after their layers (`lif1.Mul`), and a layer's last tensor `conv1` or `spikes1`."""
    fixed = set(model.graph.outputs)
    for layer, group in groupby(list(model.graph), key=_layer):
        nodes = list(group)
        kinds: Counter[str] = Counter()
        for node in nodes:
            kinds[node.op_type] += 1
            again = f"_{kinds[node.op_type]}" if kinds[node.op_type] > 1 else ""
            node.name = layer if len(nodes) == 1 else f"{layer}.{node.op_type}{again}"
            if node.outputs[0] not in fixed:
                node.outputs[0].name = node.name
        fires = layer.startswith("lif")
        nodes[-1].outputs[0].name = spikes_name(config, int(layer.removeprefix("lif"))) if fires else layer
