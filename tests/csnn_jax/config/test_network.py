"""The fields of a network, and the graphs that they describe."""

import itertools

import numpy as np
import pytest
from configs import model_configs
from hypothesis import given
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.config.graph import Flatten, Pooling
from csnn_jax.errors import UserError
from csnn_jax.options import from_json, to_json

INVALID = [
    ("beta", (0.5, 0.5, 0.5), ("beta 0.5 0.5 0.5", "one value, or 4")),
    ("threshold", 1e39, ("threshold 1e+39", "2^-100", "2^100")),
    ("scale", 3, ("scale 3", "power of two")),
    ("scale", 2.0**21, ("scale 2097152", "power of two", "2^20")),
    ("kernel_size", 4, ("kernel_size 4", "odd", "padding same")),
    ("kernel_size", (3, 5, 3), ("kernel_size 3 5 3", "one value, or 2")),
    ("pool", ("max", "min"), ("pool max min", "avg", "sum", "none")),
    ("conv_channels", (1,) * 5, ("pool max", "pool5", "1x1")),
    ("hidden", (1,) * 998, ("hidden", "at most", 1000, "layers")),
    ("stride", (30, 1), ("pool max", "pool1", "1x1")),
    ("time_steps", 5.0, ("time_steps 5.0", "whole number")),
    ("input_shape", (28, 28), ("input_shape 28 28", "three", "positive", "whole numbers")),
]


@pytest.mark.parametrize("field, value, facts", INVALID, ids=lambda v: str(v)[:40])
def test_errors_name_the_flag_and_its_value(field, value, facts):
    with refusing(UserError, *facts):
        ModelConfig(**{field: value})


def test_lists_from_json_and_yaml_are_accepted():
    found = ModelConfig(input_shape=[8, 8, 1], conv_channels=[8, 16], hidden=[], beta=[0.1, 0.2, 0.3])
    assert found == ModelConfig(input_shape=(8, 8, 1), conv_channels=(8, 16), hidden=(), beta=(0.1, 0.2, 0.3))
    hash(found)
    with refusing(UserError, "conv_channels 8 'x'", "whole number"):
        ModelConfig(conv_channels=[8, "x"])


def test_numpy_numbers_and_arrays_become_pythons():
    found = ModelConfig(
        beta=np.float32(0.9),
        threshold=np.array([1, 2, 3, 4]),
        hidden=(np.int64(16),),
        conv_channels=np.array([8, 16]),
        time_steps=np.int32(5),
        learn_beta=np.bool_(True),
    )
    assert found.each("beta") == (float(np.float32(0.9)),) * 4 and found.thresholds == (1, 2, 3, 4)
    assert from_json(ModelConfig, to_json(found), "it") == found
    with refusing(UserError, "beta 1.5", 0, 1):
        ModelConfig(beta=np.float64(1.5))
    with refusing(UserError, "slope 2", "no value", "heaviside"):
        ModelConfig(slope=2, surrogate="heaviside")


def test_without_pools_nothing_follows_the_neurons():
    assert ModelConfig(pool="none", pool_after=True) == ModelConfig(pool=("none", "none"))


@pytest.mark.parametrize(
    ("changes", "node"),
    [
        (
            {"input_shape": (6, 6, 1), "kernel_size": 5, "padding": "valid", "conv_channels": (4,), "pool_size": 4},
            "pool1",
        ),
        ({"input_shape": (8, 5, 1), "pool_size": 4}, "pool2"),
        ({"input_shape": (8, 3, 1), "pool_size": (4, 2)}, "pool1"),
    ],
)
def test_a_window_larger_than_the_outputs_is_refused_after_neurons_too(changes, node):
    size = " ".join(map(str, np.ravel(changes["pool_size"])))
    with refusing(UserError, f"pool_size {size}", node):
        ModelConfig(pool_after=True, **changes)


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
