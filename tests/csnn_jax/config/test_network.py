"""The fields of a network, and the graphs that they describe."""

import itertools

import numpy as np
import pytest
from configs import model_configs
from hypothesis import given
from refusals import refusing

from csnn_jax import NodeConfig
from csnn_jax.config import ModelConfig
from csnn_jax.config.operations import Flatten, Pooling
from csnn_jax.errors import UserError
from csnn_jax.options import from_json, to_json

INVALID = [
    ({"beta": (0.5, 0.5, 0.5)}, ("beta 0.5 0.5 0.5", "one value, or 4")),
    ({"scale": 3}, ("scale 3", "power of two")),
    ({"kernel_size": 4}, ("kernel_size 4", "odd", "padding same")),
    ({"kernel_size": (3, 5, 3)}, ("kernel_size 3 5 3", "one value, or 2")),
    ({"pool": ("max", "min")}, ("pool max min", "avg", "sum", "none")),
    ({"hidden": (1,) * 998}, ("hidden", "at most", 1000, "layers")),
    ({"stride": (30, 1)}, ("pool max", "pool1", "1x1")),
    ({"time_steps": 5.0}, ("time_steps 5.0", "whole number")),
    ({"input_shape": (28, 28)}, ("input_shape 28 28", "three", "positive", "whole numbers")),
    ({"alpha": 0.5}, ("alpha 0.5", "neuron synaptic", "leaky")),
    ({"learn_alpha": True}, ("learn_alpha", "neuron synaptic", "leaky")),
    ({"per_channel": ("alpha",)}, ("per_channel alpha", "beta", "threshold", "neuron leaky")),
    ({"neuron": "synaptic", "alpha": (0.5, 0.5)}, ("alpha 0.5 0.5", "one value, or 4")),
    ({"reset": ("zero", "none")}, ("reset zero none", "one value, or 4")),
    ({"reset": ("zero", "none", "half", "none")}, ("reset zero none half none", "subtract", "zero", "none")),
    (dict(kernel_size=31, padding="valid"), ("kernel_size", 31, "conv1", "28x28")),
    (dict(conv_channels=(4,) * 6), ("pool max", "pool5", "1x1")),
    (dict(pool_size=8), ("pool_size", 8, "pool2", "3x3")),
    (dict(conv_channels=(8000, 8), kernel_size=15), ("conv_channels", "8000 8", "conv2", "1,800,000", 4)),
    (dict(conv_channels=(), hidden=(40_000_000, 5)), ("hidden", "fc2", "40,000,000", 4)),
    (dict(conv_channels=(), input_shape=(64, 64, 3)), ("input_shape", "64 64 3", "fc1", 12_288, "8 bits", 4)),
    (dict(conv_channels=(65536,) * 2), ("conv_channels", "65536 65536", "fc1", "3,211,264 spikes", 4)),
    (dict(conv_channels=(8,), hidden=(4,), pool="none", input_shape=(4096, 4096, 1)), ("conv_channels 8", "fc1")),
    ({"residual": ("conv1",)}, ("residual conv1", "conv2")),
    ({"residual": ("conv3",)}, ("residual conv3", "conv2")),
    ({"residual": ("fc1",)}, ("residual fc1", "conv2")),
    ({"residual": ("conv2", "conv2")}, ("residual conv2 conv2", "conv2")),
    ({"residual": ("conv2",), "conv_channels": (8,)}, ("residual conv2", "two or more convolutions")),
    ({"residual": ("conv2",), "padding": "valid"}, ("residual conv2", "padding same")),
    ({"residual": ("conv2",), "padding": ("same", "valid"), "kernel_size": (3, 4)}, ("residual conv2", "padding same")),
    ({"residual": ("conv2",), "kernel_size": 4}, ("kernel_size 4", "odd", "padding same")),
    ({"residual": ("conv2",), "stride": (1, 2), "input_shape": (12, 12, 1)}, ("residual conv2", "pool2", "res2")),
    (dict(pool="avg", pool_size=3), ("pool_size 3", 9, "2, 4 or 8")),
    (dict(pool_after=True, input_shape=(8, 5, 1), pool_size=4), ("pool_size 4", "pool2")),
    (dict(pool_after=True, input_shape=(8, 3, 1), pool_size=(4, 2)), ("pool_size 4 2", "pool1")),
]


@pytest.mark.parametrize("changes, facts", INVALID, ids=lambda value: str(value)[:40])
def test_errors_name_the_flag_and_its_value(changes, facts):
    with refusing(UserError, *facts):
        ModelConfig(**changes)


def test_lists_from_json_and_yaml_are_accepted():
    config = ModelConfig(input_shape=[8, 8, 1], conv_channels=[8, 16], hidden=[], beta=[0.1, 0.2, 0.3])
    assert config == ModelConfig(input_shape=(8, 8, 1), conv_channels=(8, 16), hidden=(), beta=(0.1, 0.2, 0.3))
    hash(config)
    with refusing(UserError, "conv_channels 8 'x'", "whole number"):
        ModelConfig(conv_channels=[8, "x"])


def test_numpy_numbers_and_arrays_become_pythons():
    config = ModelConfig(
        beta=np.float32(0.9),
        threshold=np.array([1, 2, 3, 4]),
        hidden=(np.int64(16),),
        conv_channels=np.array([8, 16]),
        time_steps=np.int32(5),
        learn_beta=np.bool_(True),
    )
    assert config.each("beta") == (float(np.float32(0.9)),) * 4 and config.thresholds == (1, 2, 3, 4)
    assert from_json(ModelConfig, to_json(config), "it") == config
    with refusing(UserError, "beta 1.5", 0, 1):
        ModelConfig(beta=np.float64(1.5))
    with refusing(UserError, "slope 2", "no value", "heaviside"):
        ModelConfig(slope=2, surrogate="heaviside")


def test_without_pools_nothing_follows_the_neurons():
    assert ModelConfig(pool="none", pool_after=True) == ModelConfig(pool=("none", "none"))


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


def test_neurons_have_their_own_defaults_and_equal_resets_are_merged():
    assert ModelConfig().alpha is None and ModelConfig(neuron="synaptic").alpha == 0.5
    assert ModelConfig(reset=["zero"] * 4) == ModelConfig(reset="zero")
    several = ModelConfig(reset=("zero", "none", "zero", "zero"), output="integrator")
    assert several.resets == ("zero", "none", "zero", "none") and several.readout == "membrane"


def test_one_to_one_weights_need_features_in_the_same_order_everywhere():
    """They're flattened in another order in torch."""

    def config(*shape):
        nodes = [
            NodeConfig("flat", "flatten", "image"),
            NodeConfig("each", "one_to_one", "flat", channels=np.prod(shape).item()),
            NodeConfig("answer", "leaky", "each"),
        ]
        return ModelConfig(shape, network=nodes)

    assert config(4, 3, 1).num_classes == 12 and config(1, 1, 5).num_classes == 5
    with refusing(UserError, "each", "flat", "pixel", "channel"):
        config(4, 3, 2)


BLOCKS = {
    "identity": (
        {"pool": "none", "conv_channels": (4, 4)},
        {"conv2": "lif1", "lif2": "conv2", "flatten3": "lif2 lif1"},
    ),
    "pooled": ({"conv_channels": (4, 4)}, {"skip2": "lif1", "lif2": "pool2", "flatten3": "lif2 skip2"}),
    "pooled spikes": (
        {"conv_channels": (4, 4), "pool_after": True},
        {"skip2": "pool1", "pool2": "lif2", "flatten3": "pool2 skip2"},
    ),
    "channels": ({"pool": "none"}, {"res2": "lif1", "lif2": "conv2 res2", "flatten3": "lif2"}),
    "pooled, channels": ({}, {"skip2": "lif1", "res2": "skip2", "lif2": "pool2 res2", "flatten3": "lif2"}),
    "pooled spikes, channels": (
        {"pool_after": True},
        {"res2": "pool1", "lif2": "conv2 res2", "pool2": "lif2", "flatten3": "pool2"},
    ),
    "stride": ({"pool": "none", "stride": (1, 2), "conv_channels": (4, 4)}, {"res2": "lif1", "lif2": "conv2 res2"}),
    "two blocks": (
        {"pool": "none", "conv_channels": (4, 4, 4), "residual": ("conv2", "conv3")},
        {"conv3": "lif2 lif1", "flatten4": "lif3 lif2 lif1"},
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_residual_block_adds_its_input(name):
    changes, reads = BLOCKS[name]
    model = ModelConfig(**({"residual": ("conv2",), "conv_channels": (4, 6), "hidden": ()} | changes))
    inputs = {node.name: " ".join(map(str, node.inputs)) for node in model.graph}
    assert inputs == inputs | reads
    assert {"skip2", "res2"} & inputs.keys() == {"skip2", "res2"} & reads.keys()
    assert from_json(ModelConfig, to_json(model), "it") == model
