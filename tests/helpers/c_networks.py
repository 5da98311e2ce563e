"""Networks that aren't chains, with feedback, sums and delays, for tests of the C program."""

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


def feedback(**fields: Any) -> ModelConfig:
    """Feedback, an image that enters twice, an overwritten list, separate currents, names that C can't have or has."""
    return graph(
        node("flat", "flatten", "image"),
        linear("in-1", "flat", 10),
        linear("back", "answer@1", 10, bias=False),
        node("self", "one_to_one", "first@1", channels=10, bias=True),
        node("first", "synaptic", "in-1 back self", alpha=0.7, beta=0.9, threshold=0.8, separate=True, reset="zero"),
        linear("in_1", "first", 4),
        linear("csnn", "flat", 4),
        linear("late", "first@1", 4),
        node("answer", "leaky", "in_1 csnn late", beta=0.8, learn=["threshold"], per_channel=["threshold"]),
        **fields,
    )


def convolutions(**fields: Any) -> ModelConfig:
    """A recurrent convolution, pools before and after weights, a pool that two layers read, and overwritten lists."""
    return graph(
        conv("conv1", "image"),
        conv("again", "lif1@1", bias=False),
        node("lif1", "leaky", "conv1 again", beta=0.9, reset="mute"),
        node("most", "max_pool", "lif1"),
        node("mean", "avg_pool", "lif1@1"),
        conv("conv2", "most"),
        conv("conv3", "mean"),
        conv("late", "lif1@1", bias=False),
        node("summed", "sum_pool", "late"),
        conv("small", "image"),
        node("best", "max_pool", "small"),
        node("lif2", "leaky", "conv2 conv3 summed best", threshold=2.0, separate=True, reset="zero"),
        node("flat1", "flatten", "lif1"),
        node("flat2", "flatten", "lif2@1"),
        node("flat3", "flatten", "most"),
        linear("fc1", "flat1", 4),
        linear("fc2", "flat2", 4, bias=False),
        linear("fc3", "flat3", 4),
        node("answer", "leaky", "fc1 fc2 fc3", integrator=True),
        **fields,
    )


def at_rest(**fields: Any) -> ModelConfig:
    """Neurons with negative thresholds, which count as having spiked before the first step."""
    return graph(
        node("flat", "flatten", "image"),
        linear("fc1", "flat", 9, bias=False),
        linear("rec1", "lif1@1", 9, bias=False),
        node("one1", "one_to_one", "lif1@1", channels=9),
        node("lif1", "leaky", "fc1 rec1 one1", learn=["threshold"]),
        linear("fc2", "lif1", 3),
        linear("late", "lif1@1", 3),
        node("lif2", "leaky", "fc2 late", integrator=True),
        **fields,
    )


def residual(pool: str, after: bool = False, **fields: Any) -> ModelConfig:
    """Sums of spikes, of pools and of both, and 1x1 convolutions of sums."""
    shape = {"input_shape": (16, 18, 2), "conv_channels": (6, 6, 6, 9), "hidden": (), "num_classes": 5}
    fields = {"residual": ("conv2", "conv3", "conv4"), "pool": pool, "pool_after": after, **shape, **fields}
    return ModelConfig(**fields, time_steps=STEPS)


def delays(**fields: Any) -> ModelConfig:
    """Sums with delays of spikes, pools and flattened features, of different grids, before and after overwriting."""
    return graph(
        conv("conv1", "image"),
        conv("again", "lif1@2 lif1@1", bias=False),
        node("lif1", "leaky", "conv1 again", beta=0.9),
        node("most", "max_pool", "lif1 lif1@1 lif1@3"),
        node("mean", "avg_pool", "lif1 lif1@2"),
        node("late", "max_pool", "lif1 lif1@1"),
        node("rest", "avg_pool", "lif1@1 lif1@2"),
        conv("conv2", "most mean@2 mean late@2 rest@1"),
        conv("back", "lif2@2 lif2@1", bias=False),
        node("both", "avg_pool", "conv1 again", size=2),
        node("lif2", "leaky", "conv2 back both", threshold=2.0, reset="zero"),
        node("flat", "flatten", "lif2 lif2@1"),
        linear("fc1", "flat flat@3", 9),
        linear("rec3", "lif3@2", 9, bias=False),
        node("one3", "one_to_one", "lif3@1 lif3@3", channels=9),
        node("lif3", "leaky", "fc1 rec3 one3", separate=True),
        linear("fc2", "lif3 lif3@4", 4),
        linear("last", "answer@1 answer@2", 4),
        node("answer", "leaky", "fc2 last"),
        **fields,
    )


NETWORKS = {
    "leaky, both layers": chain("fc1", "fc2", beta=0.9),
    "one weight for each neuron, zero": chain("fc1:one", "fc2", reset="zero", encoding="rate"),
    "synaptic, integrator": chain("fc1:one", neuron="synaptic", output="integrator", per_channel=("alpha",)),
    "convolutions before, 8 bits": chain("fc1", conv_channels=(6, 7), pool="sum", pool_after=True, weight_bits=8),
    "three layers, 4 bits": chain("fc1", "fc2:one", "fc3", hidden=(12, 14), weight_bits=4, reset="mute"),
    "2 bits": chain("fc1", "fc2", weight_bits=2),
    "feedback": feedback(),
    "feedback, 8 bits": feedback(weight_bits=8),
    "feedback, 3 bits, latency": feedback(weight_bits=3, encoding="latency"),
    "convolutions": convolutions(),
    "convolutions, 4 bits": convolutions(weight_bits=4),
    "convolutions, 8 bits, counts": convolutions(weight_bits=8, scale=1.0, input_bits=3),
    "at rest": at_rest(),
    "residual, maxima, 4 bits": residual("max", weight_bits=4),
    "residual, averages": residual("avg", encoding="rate"),
    "residual, averages after, 8 bits": residual("avg", after=True, weight_bits=8),
    "residual, sums after": residual("sum", after=True, threshold=2.0),
    "residual, strides": residual("none", stride=(1, 2, 1, 2), padding="same", threshold=2.0),
    "delays": delays(),
    "delays, 3 bits, latency": delays(weight_bits=3, encoding="latency"),
}


def drawn(config: ModelConfig, seed: int) -> Tensors:
    """Parameters for which all neurons spike now and then."""
    rng, tensors = np.random.default_rng(seed), dict[str, np.ndarray]()
    for name, shape in expected_shapes(config).items():
        if name.endswith(".exponents"):
            continue
        values = rng.normal(0.05, 2 / np.sqrt(max(1, np.prod(shape[1:]))), shape)
        if name.endswith(".threshold"):
            values = rng.uniform(-0.6, -0.2, shape) if config == NETWORKS["at rest"] else rng.uniform(0.3, 0.9, shape)
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
