"""A bundle's numbers equal NeuroBench's where it has them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from export_networks import FEW, GEOMETRY
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint
from neurobench.metrics.workload import ActivationSparsity, ActivationSparsityByLayer, SynapticOperations
from neurobench.models import SNNTorchModel
from snntorch import Leaky
from torch.utils.data import DataLoader, TensorDataset

from csnn_jax.config import ModelConfig
from csnn_jax.config.nodes import NodeConfig
from csnn_jax.runs.footprint import Activity, numbers
from csnn_jax.runs.layouts import expected_shapes, on_grid
from csnn_torch import model as companion
from export.reference import Step, inputs, trace

AFTER = replace(FEW, conv_channels=(5, 6), pool_after=True)
STACKS = {
    "max": ModelConfig(input_shape=(12, 10, 2), conv_channels=(5, 7), hidden=(20,), num_classes=6, time_steps=4),
    "odd sizes": ModelConfig(
        input_shape=(11, 9, 1), conv_channels=(4,), kernel_size=5, hidden=(), pool="avg", time_steps=3, reset="zero"
    ),
    "spikes in": ModelConfig(
        input_shape=(8, 8, 3), conv_channels=(6,), hidden=(9,), time_steps=5, encoding="rate", learn_beta=True
    ),
    "strides, no padding, no bias": GEOMETRY,
    "sum": replace(FEW, pool="sum", pool_size=4),
    "sum after the neurons": replace(AFTER, pool="sum"),
    "average after the neurons": replace(AFTER, pool="avg", pool_size=(4, 2), reset="zero"),
    "maximum after the neurons": AFTER,
    "residual": replace(FEW, conv_channels=(5, 5, 7), residual=("conv2", "conv3"), pool=("avg", "max", "none")),
    "no convolution": ModelConfig(input_shape=(6, 5, 1), conv_channels=(), hidden=(12,), time_steps=3, reset="none"),
}
METRICS = [[Footprint, ConnectionSparsity], [ActivationSparsity, ActivationSparsityByLayer, SynapticOperations]]
IMAGES = 6


def network(config):
    """Parameters, some of them 0, with which every layer fires, and images with some pixels at 0."""
    random = np.random.default_rng(3)
    tensors = {}
    for name, shape in expected_shapes(config).items():
        tensors[name] = random.normal(0.1, 0.5, shape).astype(np.float32)
        if name.endswith(".weight"):
            tensors[name][random.uniform(size=shape) < 0.2] = 0
    images = random.integers(1, 256, (IMAGES, *config.input_shape)).astype(np.uint8)
    images[random.uniform(size=images.shape) < 0.4] = 0
    return on_grid(config, tensors), images


def ours(config, tensors, x):
    spikes = trace(Step(config, tensors), x, config.time_steps).spikes.values()
    assert all(0.01 < layer.mean() < 0.99 for layer in spikes)
    halves = [Activity.of(config, part.numpy(), [s[:, rows].numpy() for s in spikes]) for part, rows in _halves(x)]
    return numbers(config, tensors, halves[0] + halves[1])


def _halves(x):
    for rows in (slice(0, IMAGES // 2), slice(IMAGES // 2, IMAGES)):
        yield (x[rows] if x.ndim == 4 else x[:, rows]), rows


def neurobench(config, tensors, x):
    """NeuroBench's figures for the companion model."""
    model = companion.sequential(config)
    companion.load_tensors(model, tensors)
    steps = x.unsqueeze(1).expand(-1, config.time_steps, -1, -1, -1) if x.ndim == 4 else x.swapaxes(0, 1)
    loader = DataLoader(TensorDataset(steps, torch.zeros(IMAGES)), batch_size=IMAGES)
    with torch.no_grad():
        figures = Benchmark(SNNTorchModel(model), loader, [], [], METRICS).run(quiet=True)
    places = [name for name, module in model.named_children() if isinstance(module, Leaky)]
    by_layer = figures.pop("ActivationSparsityByLayer")
    return figures, [1 - by_layer[place] for place in places]


@pytest.mark.parametrize("config", STACKS.values(), ids=STACKS)
def test_figures_match_neurobench(config):
    tensors, images = network(config)
    x = inputs(config, images)
    mine = ours(config, tensors, x)
    theirs, densities = neurobench(config, tensors, x)
    assert config.residual or [layer["operation"] for layer in mine["layers"][1:]] == [
        "MAC" if (pool := config.graph.pool_before(node)) and pool.kind != "max" else "AC"
        for node in config.graph.weighted[1:]
    ]
    assert theirs["SynapticOperations"] == pytest.approx(mine["neurobench"].pop("SynapticOperations"), rel=1e-12)
    for name in ("Footprint", "ConnectionSparsity", "ActivationSparsity"):
        assert mine["neurobench"][name] == pytest.approx(theirs[name], rel=1e-12), name
    assert [layer["density"] for layer in mine["layers"]] == pytest.approx(densities, rel=1e-12)


@pytest.mark.parametrize(("stack", "first_operation"), [("max", "MAC"), ("spikes in", "AC")])
def test_held_images_count_as_macs_once_and_spikes_as_acs_at_every_step(stack, first_operation):
    config = STACKS[stack]
    tensors, images = network(config)
    layers = ours(config, tensors, inputs(config, images))["layers"]
    assert [layer["operation"] for layer in layers] == [first_operation, *["AC"] * (len(layers) - 1)]
    for layer in layers:
        held = config.time_steps if layer["operation"] == "MAC" else 1
        assert layer["synaptic_operations"] == held * layer["synaptic_operations_first_layer_once"] > 0


def test_delayed_spikes_meet_weights_later_and_sums_and_shared_weights_count_once():
    nodes = [
        NodeConfig("flat", "flatten", "image"),
        NodeConfig("fc", "linear", "flat", channels=3),
        NodeConfig("rec", "linear", "a@1", channels=3, bias=False),
        NodeConfig("one", "one_to_one", "a", channels=3),
        NodeConfig("a", "leaky", ["fc", "rec"]),
        NodeConfig("b", "synaptic", ["fc", "one"]),
        NodeConfig("out", "linear", ["b", "a@2"], channels=2),
        NodeConfig("c", "leaky", "out"),
    ]
    config = ModelConfig((2, 2, 1), network=nodes, time_steps=3)
    tensors = {name: np.ones(shape, np.float32) for name, shape in expected_shapes(config).items()}
    spikes = [np.zeros((3, 1, 3)), np.zeros((3, 1, 3)), np.zeros((3, 1, 2))]
    spikes[0][:, 0, 0] = 1  # three spikes, of which rec multiplies two
    x = np.array([0.5, 0.5, 0.0, 0.0], np.float32).reshape(1, 1, 2, 2)
    figures = numbers(config, tensors, Activity.of(config, x, spikes))
    a, b, c = figures["layers"]
    assert [layer["name"] for layer in figures["layers"]] == ["a", "b", "c"]
    assert (a["parameters"], b["parameters"], c["parameters"]) == (15 + 9, 3, 8)
    assert a["operation"] == "AC and MAC" and b["operation"] == "AC"
    assert a["synaptic_operations"] == 3 * 2 * 3 + 2 * 3 and a["synaptic_operations_first_layer_once"] == 6 + 6
    assert c["operation"] == "MAC" and c["synaptic_operations"] == 2  # of a's first spike
    assert figures["total"]["past_bytes"] == 2 * 12
    assert b["synaptic_operations"] == 3 and b["dense_macs_per_step"] == 3
    assert (a["dense_macs_per_step"], a["dense_macs_first_layer_once"]) == (12 + 9, 12 + 3 * 9)
    assert (a["membrane_bytes"], b["membrane_bytes"]) == (12, 24)
    assert figures["neurobench"]["SynapticOperations"] == {"Effective_MACs": 20, "Effective_ACs": 9, "Dense": 3 * 30}
    assert figures["energy"]["synapses_nj"] == pytest.approx((8 * 4.6 + 9 * 0.9) / 1000)
    assert figures["energy"]["neurons_nj"] == pytest.approx((3 + 2 * 3 + 2) * 3 * 4.6 / 1000)


def test_sizes_and_energy_of_the_default_network():
    config = ModelConfig(time_steps=2)
    tensors = {name: np.ones(shape, np.float32) for name, shape in expected_shapes(config).items()}
    x = np.zeros((1, 1, 28, 28), np.float32)
    x[0, 0, 10, 10] = 0.5  # reaches 9 x 32 weights
    spikes = [np.zeros((2, 1, 32, 14, 14)), np.zeros((2, 1, 64, 7, 7)), np.zeros((2, 1, 512)), np.zeros((2, 1, 10))]
    spikes[2][0, 0, 7] = 1  # reaches 10
    figures = numbers(config, tensors, Activity.of(config, x, spikes))
    assert json.loads(json.dumps(figures)) == figures
    total = figures["total"]
    assert total["parameters"] == 320 + 18496 + 1606144 + 5130
    assert total["bytes"] == 4 * total["parameters"]
    assert total["membrane_bytes"] == 4 * (6272 + 3136 + 512 + 10)
    assert [layer["dense_macs_per_step"] for layer in figures["layers"]] == [
        32 * (3 * 28 - 2) ** 2,  # 3 x 28 taps along each side, less the two outside
        32 * 64 * (3 * 14 - 2) ** 2,
        3136 * 512,
        512 * 10,
    ]
    assert total["synaptic_operations"] == 2 * 9 * 32 + 10
    assert figures["energy"]["synapses_nj"] == pytest.approx((9 * 32 * 4.6 + 10 * 0.9) / 1000)
    assert figures["energy"]["neurons_nj"] == pytest.approx(9930 * 2 * 4.6 / 1000)
    assert figures["energy"]["one_pass_nj"] == pytest.approx(5_102_720 * 4.6 / 1000)  # 23,473 for any number of steps


def test_recurrent_weights_meet_the_spikes_of_the_step_before():
    config = ModelConfig(
        input_shape=(2, 2, 1), conv_channels=(), hidden=(3,), num_classes=2, time_steps=3, recurrent=("fc1", "fc2:one")
    )
    tensors = {name: np.ones(shape, np.float32) for name, shape in expected_shapes(config).items()}
    tensors["rec1.weight"][0, 1] = 0  # [out, in]: neuron 1 reaches two others
    x = np.zeros((1, 1, 2, 2), np.float32)
    x[0, 0, 0, 1] = 0.5
    first, last = np.zeros((3, 1, 3)), np.zeros((3, 1, 2))
    first[0, 0, :2] = 1  # in step 1, they meet 3 + 2 weights of rec1
    first[2, 0, 2] = 1  # after the last step, none
    last[1, 0, 0] = 1  # in step 2, one of rec2
    figures = numbers(config, tensors, Activity.of(config, x, [first, last]))
    operations = figures["neurobench"]["SynapticOperations"]
    assert operations["Effective_MACs"] == 3 * 3  # fc1 at each step
    assert operations["Effective_ACs"] == (3 + 2) + 3 * 2 + 1
    assert operations["Dense"] == 3 * (4 * 3 + 3 * 3 + 3 * 2 + 2)
    assert figures["total"]["parameters"] == 4 * 3 + 3 + 9 + 3 * 2 + 2 + 2
    assert [layer["synaptic_operations_first_layer_once"] for layer in figures["layers"]] == [3 + 5, 6 + 1]
    assert figures["energy"]["synapses_nj"] == pytest.approx((3 * 4.6 + 12 * 0.9) / 1000)
    assert figures["total"]["neurons"] == 5
