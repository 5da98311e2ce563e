"""More networks for tests of what the C program states, which aren't chains, and random ones."""

from typing import Any

import numpy as np
import torch

from csnn_jax import NodeConfig
from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import Tensors, expected_shapes, on_grid, with_exponents
from export import reference

STEPS, IMAGES, RANDOM = 8, 3, 4


def chain(*recurrent: str, **fields: Any) -> ModelConfig:
    shape = {"input_shape": (6, 5, 2), "conv_channels": (), "hidden": (11,), "num_classes": 5, "time_steps": STEPS}
    return ModelConfig(**{**shape, "recurrent": recurrent, **fields})


def node(name: str, operation: str, inputs: str, **settings: Any) -> NodeConfig:
    return NodeConfig(name, operation, inputs.split(), **settings)


def conv(name: str, inputs: str, stride: int = 1, **settings: Any) -> NodeConfig:
    return node(name, "convolution", inputs, channels=9, kernel=3, padding=1, stride=stride, **settings)


def linear(name: str, inputs: str, channels: int, **settings: Any) -> NodeConfig:
    return node(name, "linear", inputs, channels=channels, **settings)


def graph(*nodes: NodeConfig, **fields: Any) -> ModelConfig:
    return ModelConfig(**{"input_shape": (6, 5, 2), "time_steps": STEPS, "network": nodes, **fields})


def residual(pool: str, after: bool = False, **fields: Any) -> ModelConfig:
    """Sums of spikes, of pools and of both, and 1x1 convolutions of sums."""
    shape = {"input_shape": (16, 18, 2), "conv_channels": (6, 6, 6, 9), "hidden": (), "num_classes": 5}
    fields = {"residual": ("conv2", "conv3", "conv4"), "pool": pool, "pool_after": after, **shape, **fields}
    return ModelConfig(**fields, time_steps=STEPS)


NETWORKS = {
    "one weight for each neuron, zero": chain("fc1:one", "fc2", reset="zero", encoding="rate"),
    "three layers, 4 bits": chain("fc1", "fc2:one", "fc3", hidden=(12, 14), weight_bits=4, reset="mute"),
    "2 bits": chain("fc1", "fc2", weight_bits=2),
    "residual, maxima, 4 bits": residual("max", weight_bits=4),
    "residual, averages after, 8 bits": residual("avg", after=True, weight_bits=8),
    "residual, strides": residual("none", stride=(1, 2, 1, 2), padding="same", threshold=2.0),
}


def drawn(config: ModelConfig, seed: int) -> Tensors:
    """Parameters for which all neurons spike now and then."""
    rng, tensors = np.random.default_rng(seed), dict[str, np.ndarray]()
    for name, shape in expected_shapes(config).items():
        if name.endswith(".exponents"):
            continue
        values = rng.normal(0.05, 2 / np.sqrt(max(1, np.prod(shape[1:]))), shape)
        if name.endswith(".threshold"):
            values = rng.uniform(0.3, 0.9, shape)
        elif name.rpartition(".")[2] in ("alpha", "beta"):
            values = rng.uniform(0.3, 0.95, shape)
        tensors[name] = values.astype(np.float32)
    return on_grid(config, with_exponents(config, tensors))


def random_network(seed: int) -> ModelConfig:
    """Convolutions and linear layers with random edges, sums, delays, neurons and bits."""
    rng = np.random.default_rng(seed)
    convolutions, linears = rng.integers(0, 3), rng.integers(1, 4)
    nodes, layers = list[NodeConfig](), convolutions + linears
    for layer in range(layers):
        wide = layer < convolutions
        sources = [f"lif{layer - 1}" if layer else "image"]
        for other in range(layers):
            if rng.random() < 0.35 and (other < convolutions or not wide):
                sources.append(f"lif{other}@1" if other >= layer or rng.random() < 0.5 else f"lif{other}")
        if rng.random() < 0.3:
            sources.append("image")
        currents = []
        for number, source in enumerate(sources):
            currents.append(f"from{layer}_{number}")
            bias = bool(rng.random() < 0.5)
            of_image = source == "image" or int(source[3]) < convolutions
            if source != "image" and rng.random() < 0.4:
                source += f" {source[:4]}@{rng.integers(2, 4)}"
            if wide:
                nodes.append(conv(currents[-1], source, bias=bias))
                continue
            if of_image:
                nodes.append(node(f"flat{layer}_{number}", "flatten", source))
                source = nodes[-1].name
            elif rng.random() < 0.4:
                nodes.append(node(currents[-1], "one_to_one", source, channels=6, bias=bias))
                continue
            nodes.append(linear(currents[-1], source, 6, bias=bias))
        kind, reset = ("leaky", "mute") if rng.random() < 0.5 else ("synaptic", "clear")
        reset = rng.choice([reset, "subtract", "zero", "none"])
        settings = {"reset": str(reset), "separate": bool(rng.random() < 0.4), "threshold": 2.0, "beta": 0.8}
        settings |= {"learn": ["beta"], "per_channel": ["beta"]} if rng.random() < 0.3 else {}
        nodes.append(node(f"lif{layer}", kind, " ".join(currents), **settings))
    order = rng.permutation(len(nodes))
    return graph(*(nodes[place] for place in order), weight_bits=[None, None, 8, 4, 2][rng.integers(5)])


def case(name: str | int) -> tuple[ModelConfig, Tensors, torch.Tensor]:
    """A network, its parameters and inputs: one of `NETWORKS`, or a random one."""
    config = NETWORKS[name] if isinstance(name, str) else random_network(name)
    images = np.random.default_rng(2).integers(0, 2**config.pixels.bits, (IMAGES, *config.input_shape)).astype(np.uint8)
    return config, drawn(config, 0), reference.inputs(config, images)
