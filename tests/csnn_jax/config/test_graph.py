"""Graphs: nodes that don't fit, what's constant, and edges with a delay."""

import numpy as np
import pytest
import torch
from refusals import refusing

from csnn_jax.config import ModelConfig, Pooling
from csnn_jax.config.build import Misfit, graph
from csnn_jax.config.graph import Current, Edge, Signal, added
from csnn_jax.config.operations import Convolution, Flatten, Linear
from csnn_torch.library import Torch

CONFIG = ModelConfig(input_shape=(6, 6, 1), conv_channels=(2,), hidden=(), num_classes=3, time_steps=5, pool="avg")
LIF = CONFIG.graph["lif1"].operation
CONV = ("conv1", Convolution(2, 3), "image")


@pytest.mark.parametrize(
    ("nodes", "facts"),
    [
        ([CONV, CONV], ("conv1", "name")),
        ([("conv1", Convolution(2, 3), "conv0")], ("conv1", "conv0", "image")),
        ([("fc1", Linear(3), "image")], ("fc1", "image", "(6, 6, 1)", "(features,)", "flatten")),
        ([CONV, ("conv2", Convolution(2, 3), "conv1")], ("conv2", "conv1", "spikes")),
        ([CONV, ("flatten", Flatten(), "conv1")], ("flatten", "conv1", "spikes")),
        ([("lif1", LIF, "image")], ("lif1", "image", "current")),
        ([("conv1", Convolution(2, 7), "image")], ("conv1", "6x6")),
        ([CONV, ("pool1", Pooling("max", 5, 5), "conv1")], ("pool1", "4x4")),
        (
            [("flatten", Flatten(), "image"), ("fc1", Linear(3), "flatten"), ("lif1", LIF, "fc1")],
            ("fc1", "36", "16 bits", "at least 4"),
        ),
    ],
)
def test_a_node_that_does_not_fit_is_named(nodes, facts):
    with refusing(Misfit, *facts):
        graph((6, 6, 1), Signal(16), [(name, operation, (Edge(source),)) for name, operation, source in nodes])


def test_grids_follow_from_a_nodes_inputs_and_from_the_sums_it_enters():
    config = ModelConfig(conv_channels=(4, 4, 4), hidden=(8,), pool="avg", pool_after=True)
    nodes = config.graph
    assert [nodes[name].values for name in ("image", "lif1", "pool1")] == [
        Signal(8, 1 / 256),
        Signal(),
        Signal(2, 0.25),
    ]
    assert (nodes["conv2"].grid.input_bits, nodes["conv2"].grid.input_step, nodes["conv2"].grid.added) == (2, 0.25, 0)
    before = ModelConfig(conv_channels=(4,), hidden=(8,), pool="sum").graph
    assert before["pool1"].values == (Current("conv1", 2),) and before["conv1"].grid.added == 2


def test_a_sum_has_the_finest_step_and_room_for_all_values():
    sums = {
        Signal(2): [Signal(), Signal(), Signal()],  # 0 to 3
        Signal(9, 1 / 256): [Signal(8, 1 / 256), Signal()],  # 0 to 2
        Signal(3, 0.25): [Signal(2, 0.25), Signal()],
        Signal(5, 0.25): [Signal(2, 0.25), Signal(2), Signal()],  # 0 to 6
    }
    for total, values in sums.items():
        assert added(values) == total
    one = (Current("conv1", 2, 2),)
    assert added([one, one, (Current("conv2"),)]) == (Current("conv1", 3, 2), Current("conv2"))


def test_a_constant_image_is_computed_once_with_the_same_results():
    assert CONFIG.graph.constant == ("conv1", "pool1")
    x, parameters = torch.rand(2, 1, 6, 6), drawn()
    once = [*Torch().run(CONFIG.graph, parameters, x, 5)]
    each = [*Torch().run(CONFIG.graph, parameters, x.expand(5, *x.shape), 5)]
    for one, other in zip(once, each, strict=True):
        assert all(torch.equal(one.values[name], other.values[name]) for name in ("pool1", "lif1", "lif2"))


def test_an_edge_with_a_delay_reads_earlier_steps():
    late = CONFIG.graph.delayed({Edge("lif1"): Edge("lif1", 2)})
    assert late.delays == {"lif1": 2} and late.constant == CONFIG.graph.constant
    x, parameters = torch.rand(5, 2, 1, 6, 6), drawn()
    steps = [*Torch().run(CONFIG.graph, parameters, x, 5)]
    delayed = [*Torch().run(late, parameters, x, 5)]
    assert any(step.values["lif1"].any() for step in steps[:3])
    assert [bool(step.values["flatten2"].any()) for step in delayed[:2]] == [False, False]
    for one, other in zip(steps, delayed[2:], strict=False):
        assert torch.equal(one.values["flatten2"], other.values["flatten2"])


def drawn() -> dict:
    random = np.random.default_rng(0)
    tensors = {}
    for node in CONFIG.graph.weighted:
        *window, inputs, out = node.kernel_shape
        tensors[f"{node.name}.weight"] = random.normal(size=(out, inputs, *window)).astype(np.float32)
        tensors[f"{node.name}.bias"] = random.normal(size=out).astype(np.float32)
    return Torch().parameters(CONFIG.graph, tensors)
