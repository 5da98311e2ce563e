"""Networks for tests of the export that need images and a single step; networks.py knows those for equality."""

import functools
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from csnn_jax.config import ModelConfig
from csnn_jax.config.nodes import NodeConfig
from csnn_jax.runs.layouts import Tensors, expected_shapes, on_grid
from export import reference
from export.graphs import few_bits, onnx_file, step_graph
from export.parts import sequence

OTHER = ModelConfig(
    input_shape=(12, 10, 2),
    conv_channels=(5, 7),
    hidden=(20,),
    num_classes=6,
    pool="avg",
    reset="zero",
    beta=(0.9, 0.8, 0.7, 0.6),
    learn_beta=True,
    learn_threshold=True,
    time_steps=12,
    scale=128.0,
)
"""Differs from the default in everything possible."""

GEOMETRY = ModelConfig(
    input_shape=(13, 12, 1),
    conv_channels=(4, 5),
    kernel_size=(4, 3),
    padding=("valid", "same"),
    stride=(1, 2),
    pool=("max", "none"),
    bias=False,
    hidden=(),
    num_classes=3,
    time_steps=12,
)
FLAT = ModelConfig(
    (6, 5, 1), (), hidden=(), num_classes=4, reset="none", beta=0.8, threshold=2.5, encoding="rate", time_steps=12
)
FEW = ModelConfig(input_shape=(9, 8, 2), conv_channels=(5,), hidden=(11,), num_classes=4, beta=0.9, time_steps=12)
SYNAPTIC = replace(FEW, neuron="synaptic", alpha=(0.9, 0.7, 0.6), beta=(0.8, 0.5, 0.3))
INTEGRATOR = replace(SYNAPTIC, output="integrator", reset=("zero", "subtract", "zero"), encoding="rate")
"""With two states, and read from membranes."""

RECURRENT = replace(
    FEW, hidden=(11, 7), recurrent=("fc1", "fc2:one", "fc3"), reset=("zero", "subtract", "zero", "zero")
)
_NODES = [
    NodeConfig("mem1", "convolution", "image", channels=16, kernel=3, padding=1),
    NodeConfig("back", "convolution", "counts@1", channels=16, kernel=1, bias=False),
    NodeConfig("t", "leaky", ["mem1", "back"], reset="mute", separate=True, beta=0.8),
    NodeConfig("spikes1", "convolution", "t", channels=16, kernel=3, padding=1),
    NodeConfig("membrane", "convolution", "t", channels=16, kernel=1),
    NodeConfig("counts", "synaptic", ["spikes1", "membrane"], reset="zero", learn=["alpha"], per_channel=["threshold"]),
    NodeConfig("window", "avg_pool", "counts"),
    NodeConfig("scores", "flatten", "window"),
    NodeConfig("time_steps", "linear", "scores", channels=20),
    NodeConfig("go_on", "linear", "batch@1", channels=20, bias=False),
    NodeConfig("one", "one_to_one", "batch@1", channels=20),
    NodeConfig("batch", "synaptic", ["time_steps", "go_on", "one"], separate=True, alpha=0.7),
    NodeConfig("spikes", "linear", "batch", channels=5),
    NodeConfig("pixels", "flatten", "image"),
    NodeConfig("images", "linear", "pixels", channels=5, bias=False),
    NodeConfig("steps", "one_to_one", "out@1", channels=5, bias=True),
    NodeConfig("out", "leaky", ["spikes", "images", "steps"], beta=0.9),
]
GRAPH = ModelConfig((8, 7, 2), network=_NODES, time_steps=12)
"""Has branches, feedback from a later layer, both kinds of neurons and of sums, and names that the files use."""

RESIDUAL = ModelConfig(
    (13, 12, 2),
    conv_channels=(6, 6, 9),
    residual=("conv2", "conv3"),
    hidden=(),
    num_classes=5,
    pool=("avg", "avg", "max"),
    time_steps=12,
)
DELAYED = ModelConfig(
    (8, 7, 2),
    network=[
        NodeConfig("conv1", "convolution", ["image", "image@2"], channels=9, kernel=3, padding=1),
        NodeConfig("short", "convolution", "image", channels=9, kernel=1, bias=False),
        NodeConfig("lif1", "leaky", ["conv1", "conv1@1", "short"], threshold=2.0),
        NodeConfig("most", "max_pool", ["lif1", "lif1@1", "lif1@3"]),
        NodeConfig("mean", "avg_pool", "lif1"),
        NodeConfig("conv2", "convolution", ["most", "mean", "mean@2"], channels=7, kernel=3, padding=1),
        NodeConfig("back", "convolution", ["lif2@2", "lif2@1"], channels=7, kernel=3, padding=1, bias=False),
        NodeConfig("lif2", "leaky", ["conv2", "back"], threshold=2.0, reset="zero"),
        NodeConfig("flat", "flatten", ["lif2", "lif2@1"]),
        NodeConfig("fc1", "linear", ["flat", "flat@2"], channels=9),
        NodeConfig("one", "one_to_one", ["mem@1", "mem@3"], channels=9),
        NodeConfig("mem", "synaptic", ["fc1", "one"], separate=True),
        NodeConfig("fc2", "linear", ["mem", "mem@4"], channels=4),
        NodeConfig("rec", "linear", "out@2", channels=4, bias=False),
        NodeConfig("out", "leaky", ["fc2", "rec"]),
    ],
    time_steps=12,
)
"""Sums and delays of images, spikes, pools, flattened features and currents."""


@dataclass(frozen=True)
class Case:
    """A network with uint8 images and its ONNX files."""

    config: ModelConfig
    tensors: Tensors
    images: np.ndarray

    @property
    def step(self) -> reference.Step:
        return reference.Step(self.config, self.tensors)

    @property
    def x(self) -> torch.Tensor:
        return reference.inputs(self.config, self.images)

    @functools.cached_property
    def models(self) -> dict[str, onnx.ModelProto]:
        network = self.config, self.tensors
        plain = few_bits.packed(step_graph.step(*network, few_bits.opset(self.config.weight_bits)), *network)
        return {
            "step.onnx": plain,
            "step_b1.onnx": step_graph.static(plain),
            "sequence.onnx": sequence.graph(plain, self.config),
        }


@functools.cache
def firing(config: ModelConfig, batch: int = 3) -> Case:
    """Random weights and images for which every layer fires: a silent network matches anything."""
    for seed in range(50):
        random = np.random.default_rng(seed)
        images = random.integers(0, 256, (batch, *config.input_shape), np.uint8)
        tensors = {}
        for name, shape in expected_shapes(config).items():
            if name in config.graph.initial:
                tensors[name] = np.asarray(random.uniform(0.6, 0.95, shape), np.float32)
            elif not name.endswith(".exponents"):  # on_grid chooses those
                bound = 3 / np.sqrt(np.prod(shape[1:]))
                tensors[name] = random.uniform(-bound, bound, shape).astype(np.float32)
        made = Case(config, on_grid(config, tensors), images)
        spikes = reference.trace(made.step, made.x, config.time_steps).spikes.values()
        able = len(spikes) - (config.output == "integrator")
        if all(0.02 < layer.mean() < 0.7 for layer in [*spikes][:able]):
            return made
    raise AssertionError(f"no seed makes every layer of {config} fire")


def changed(model, name, change):
    """A copy of a graph with one initializer changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in (tensor for graph in onnx_file.graphs(copy.graph) for tensor in graph.initializer):
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    return copy
