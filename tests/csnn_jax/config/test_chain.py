"""The graphs that flags describe."""

import itertools

import pytest
from configs import model_configs
from hypothesis import given
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.config.graph import Flatten, Pooling
from csnn_jax.errors import UserError


def _of(value, number):
    return value[number] if isinstance(value, tuple) else value


@given(model_configs())
def test_nodes_have_the_flags_names_and_shapes(model):
    graph = model.graph
    count = len(model.conv_channels)
    conv, linear = graph.weighted[:count], graph.weighted[count:]
    assert [node.name for node in graph.weighted] == [
        *(f"conv{i}" for i in range(1, count + 1)),
        *(f"fc{i}" for i in range(1, len(linear) + 1)),
    ]
    assert [node.name for node in graph.neurons] == [f"lif{i}" for i in range(1, count + len(linear) + 1)]
    assert all(node.is_convolution for node in conv) and not any(node.is_convolution for node in linear)
    shape = model.input_shape
    for number, (node, firing, channels) in enumerate(zip(conv, graph.neurons, model.conv_channels, strict=False)):
        kernel, stride, padding, pool, size = (
            _of(value, number)
            for value in (model.kernel_size, model.stride, model.padding, model.pool, model.pool_size)
        )
        zeros = kernel // 2 if padding == "same" else 0
        positions = [len(range(0, n + 2 * zeros - kernel + 1, stride)) for n in shape[:2]]
        assert node.shape == (*positions, channels) and node.kernel_shape == (kernel, kernel, shape[-1], channels)
        assert padding == "valid" or stride > 1 or node.shape[:2] == shape[:2]
        pooled = node.shape if pool == "none" else (*(n // size for n in positions), channels)
        shape = pooled
        assert firing.shape == (node.shape if model.pool_after else pooled) and min(pooled) >= 1
        pools = graph.pool_after(node), graph.pool_after(firing)
        assert [one is not None for one in pools] == [pool != "none" and after == model.pool_after for after in (0, 1)]
    assert graph.unflattened(linear[0]) == shape
    assert [node.shape for node in linear] == [(n,) for n in (*model.hidden, model.num_classes)]
    assert {node.bias for node in graph.weighted} == {model.bias}
    assert len(model.each("beta")) == len(model.thresholds) == len(graph.neurons)


@given(model_configs())
def test_each_node_reads_the_one_before(model):
    for before, after in itertools.pairwise(model.graph.nodes.values()):
        assert model.graph.source(after) is before
        if not isinstance(after.operation, Flatten | Pooling):
            assert after.shape[-1] == after.operation.channels


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        (dict(kernel_size=31, padding="valid"), ("kernel_size", 31, "conv1", "28x28")),
        (dict(conv_channels=(4,) * 6), ("pool max", "pool5", "1x1")),
        (dict(pool_size=8), ("pool_size", 8, "pool2", "3x3")),
        (dict(conv_channels=(8000, 8), kernel_size=15), ("conv_channels", "8000 8", "conv2", "1,800,000", 4)),
        (dict(conv_channels=(), hidden=(40_000_000, 5)), ("hidden", "fc2", "40,000,000", 4)),
        (
            dict(conv_channels=(), hidden=(), input_shape=(64, 64, 3)),
            ("input_shape", "64 64 3", "fc1", "12,288", "8 bits"),
        ),
        (dict(conv_channels=(65536,) * 2), ("conv_channels", "65536 65536", "fc1", "3,211,264 spikes", 4)),
        (dict(conv_channels=(8,), hidden=(4,), pool="none", input_shape=(4096, 4096, 1)), ("conv_channels 8", "fc1")),
    ],
)
def test_a_node_that_does_not_fit_is_named_with_its_flag(changes, facts):
    with refusing(UserError, *facts):
        _ = ModelConfig(**changes).graph
