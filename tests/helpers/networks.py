"""The networks that tests of equality share, each with an input: every one does something that the others don't.

Weights and inputs are random but fixed, and small enough that the reference takes milliseconds.
"""

import functools
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import reference_graph as reference
from reference_nodes import chain
from reference_settings import settings_of

from csnn_jax import NodeConfig as Node
from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import Tensors, expected_shapes, on_grid, with_exponents

IMAGES = 4


@dataclass(frozen=True)
class Recipe:
    """How a network and its input are made.

    Attributes:
        config: the network. Its input is an image, or a sequence of spikes if the network encodes images.
        gain: the standard deviation of all weights, or of each layer's, times the root of the number of inputs.
        counts: the largest count, if the input is a sequence of counts; 0 for images.
        dark: columns of an image, or steps of a sequence, from this one on are 0.
        values: the neurons' stored parameters; others are random.
        power: binary logarithm of a factor for weights and biases.
    """

    config: ModelConfig
    gain: float | tuple[float, ...] = 2.0
    counts: int = 0
    dark: int | None = None
    values: dict[str, float] = field(default_factory=dict)
    power: int = 0


@dataclass(frozen=True, eq=False)
class Network:
    """A network and an input for it.

    Attributes:
        config: the network.
        masters: its parameters before rounding, with torch's names and layouts.
        tensors: the same on their grids, as in files.
        x: [batch, H, W, C] or [time, batch, H, W, C]: bytes, counts or spikes in uint8, or floats.
    """

    config: ModelConfig
    masters: Tensors
    tensors: Tensors
    x: np.ndarray

    @property
    def described(self) -> reference.Described:
        """Its nodes, for the reference."""
        nodes = self.config.network
        return chain(settings_of(self.config)) if nodes is None else nodes.described()

    @functools.cached_property
    def layers(self) -> reference.States:
        """What the reference computes, by neurons."""
        states = reference.trace(self.described, settings_of(self.config), self.masters, self.x)
        return {name: state for name, state in states.items() if "membrane" in state}


def _leaky(shape: tuple[int, int, int], conv: tuple[int, ...], *hidden: int, steps: int = 36, **fields: Any):
    """A network with five classes. With 36 steps, constant currents last until the event engine's kernels settle."""
    return ModelConfig(shape, conv_channels=conv, hidden=hidden, num_classes=5, time_steps=steps, **fields)


def _synaptic(shape: tuple[int, int, int], conv: tuple[int, ...], *hidden: int, **fields: Any):
    return _leaky(shape, conv, *hidden, steps=12, neuron="synaptic", **fields)


def _described(shape: tuple[int, int, int], *nodes: Node, steps: int = 16, **fields: Any) -> ModelConfig:
    return ModelConfig(shape, network=nodes, time_steps=steps, **fields)


COUNTS = {"scale": 1.0, "input_bits": 4}
RECIPES = {
    # In the dark half every neuron settles, and conv1 is silent.
    "dark half": Recipe(_leaky((12, 24, 2), (20, 7), 70), dark=14),
    "reset for each layer": Recipe(
        _leaky((17, 16, 1), (6, 33, 17), threshold=2.0, reset=("none", "zero", "subtract", "zero")),
        gain=(2.0, 1.0, 1.5, 4.0),
    ),
    # The kernels' blocks have 16 or 32 channels, and their words 64 steps.
    "full blocks, 70 steps": Recipe(_leaky((9, 10, 2), (16, 48), steps=70)),
    "only outputs, no reset": Recipe(_leaky((6, 5, 1), (), reset="none", beta=0.8, threshold=2.5)),
    # Two betas are clipped, and neurons with a negative threshold spike at rest.
    "kernel 1, learned": Recipe(
        _leaky((12, 10, 1), (6, 5), 20, kernel_size=1, learn_beta=True, learn_threshold=True),
        values={
            "lif1.beta": 0.6,
            "lif2.beta": 1.3,
            "lif3.beta": -0.2,
            "lif4.beta": 0.9,
            "lif1.threshold": 0.3,
            "lif2.threshold": 0.7,
            "lif3.threshold": -0.2,
            "lif4.threshold": 1.1,
        },
    ),
    "even kernels, integrator, 6 bits": Recipe(
        _leaky(
            (17, 15, 1),
            (20, 7),
            30,
            kernel_size=(5, 2),
            padding="valid",
            output="integrator",
            bias=False,
            weight_bits=6,
        )
    ),
    "no pool, no bias, membranes": Recipe(
        _leaky((10, 9, 2), (20, 7, 4), 30, pool="none", padding="valid", bias=False, beta=0.9, readout="membrane")
    ),
    # Weights are almost as large as they may be.
    "one average, no decay, large weights": Recipe(
        _leaky(
            (13, 12, 2),
            (20, 7),
            30,
            steps=20,
            reset="zero",
            beta=1.0,
            threshold=2.0**28,
            pool=("avg", "none"),
            padding=("same", "valid"),
            kernel_size=(3, 4),
        ),
        power=28,
    ),
    "averages, zero, 3 bits": Recipe(
        _leaky((13, 10, 2), (20, 7), 70, pool="avg", reset="zero", bias=False, weight_bits=3)
    ),
    "1,030 channels": Recipe(_leaky((4, 5, 1), (1030, 7), steps=12)),
    # Their weights have 12 bits, the most that kernels add as integers.
    "2,100 inputs": Recipe(_leaky((5, 4, 2), (), 2100)),
    # Their indices have more than 16 bits.
    "70,400 neurons": Recipe(_leaky((33, 40, 1), (220,), steps=2)),
    "counts, five channels": Recipe(_leaky((9, 10, 5), (20, 7), 30, pool="avg", reset="zero", **COUNTS), counts=15),
    "counts, no convolution, 2 bits": Recipe(
        _leaky(
            (9, 7, 1),
            (),
            30,
            11,
            reset="none",
            beta=(0.9, 0.3, 1.0),
            threshold=(8.0, 2.0, 4.0),
            weight_bits=2,
            **COUNTS,
        ),
        gain=1.2,
        counts=15,
    ),
    # Without input and bias, what remains of a membrane keeps shrinking, below 2^-126.
    "counts that end": Recipe(
        _leaky((9, 8, 2), (7,), steps=60, pool="none", bias=False, beta=0.1, **COUNTS), counts=15, dark=15
    ),
    "kernel 7 on spikes": Recipe(
        _leaky((17, 19, 2), (3, 4, 5), 8, steps=12, kernel_size=7, encoding="rate", pool="avg", reset="zero")
    ),
    "strides, 5 bits": Recipe(
        _leaky(
            (25, 22, 1),
            (4, 5, 3),
            9,
            steps=12,
            kernel_size=(4, 3, 1),
            stride=(1, 2, 1),
            padding=("valid", "same", "same"),
            pool=("sum", "none", "avg"),
            bias=False,
            reset="zero",
            weight_bits=5,
            scale=1.0,
            input_bits=0,
        ),
        gain=(2.0, 4.0, 4.0, 5.0, 3.0),
        counts=1,
    ),
    # Leaks are powers of two, as Norse needs, and bytes enter as 0 to 2.
    "powers of two": Recipe(
        _leaky(
            (13, 11, 3),
            (4, 6),
            9,
            steps=12,
            kernel_size=5,
            pool="avg",
            reset="zero",
            scale=128.0,
            learn_beta=True,
            threshold=(2.0, 3.0, 1.0, 1.0),
        ),
        gain=(1.0, 1.5, 2.0, 2.0),
        values={"lif1.beta": 0.5, "lif2.beta": 1.0, "lif3.beta": 0.75, "lif4.beta": 0.875},
    ),
    "synaptic": Recipe(
        _synaptic(
            (9, 8, 2),
            (5,),
            11,
            reset=("subtract", "zero", "none"),
            alpha=(0.9, 0.7, 0.6),
            beta=(0.8, 0.5, 0.3),
            threshold=(4.0, 1.0, 1.0),
        ),
        gain=1.2,
    ),
    "synaptic, sums after": Recipe(
        _synaptic((9, 8, 2), (5, 6), 11, reset="clear", alpha=0.75, beta=0.5, pool="sum", pool_after=True)
    ),
    "synaptic, averages after": Recipe(
        _synaptic(
            (18, 17, 1),
            (5, 6),
            11,
            reset="clear",
            pool="avg",
            pool_size=(4, 2),
            pool_after=True,
            alpha=(0.0, 0.4, 0.9, 1.0),
            beta=(0.9, 0.4, 0.0, 0.7),
        )
    ),
    "synaptic integrator, values per channel": Recipe(
        _synaptic(
            (9, 8, 2),
            (5,),
            11,
            reset=("zero", "subtract", "zero"),
            per_channel=("alpha", "beta", "threshold"),
            learn_alpha=True,
            output="integrator",
            encoding="latency",
        ),
        gain=1.5,
    ),
    "sums, values per channel": Recipe(
        _leaky((9, 8, 2), (5,), 11, steps=12, reset="zero", per_channel=("beta", "threshold"), pool="sum", pool_size=4)
    ),
    "averages and sums after, 8 bits": Recipe(
        _leaky(
            *((9, 8, 2), (5, 6), 11),
            steps=12,
            reset="zero",
            beta=0.75,
            pool=("avg", "sum"),
            pool_after=True,
            weight_bits=8,
        )
    ),
    "all pools after, 4 bits": Recipe(
        _synaptic(
            (34, 31, 1),
            (4, 5, 3, 4),
            kernel_size=(4, 3, 1, 3),
            padding=("valid", "same", "same", "same"),
            stride=(2, 1, 1, 1),
            pool=("sum", "none", "avg", "max"),
            pool_size=(2, 2, 2, 3),
            pool_after=True,
            reset="clear",
            bias=False,
            weight_bits=4,
        )
    ),
    # NIR needs names that sort in the order of layers. Neurons of fc1 differ in the number of their weights' bits.
    "ten layers": Recipe(
        _leaky((16, 16, 1), (), *(16,) * 9, steps=12, reset="zero", beta=(0.0, 0.6, 1.0, 0.9) * 2 + (0.7, 0.5))
    ),
    "recurrent": Recipe(_leaky((6, 5, 1), (), 70, steps=20, recurrent=("fc1", "fc2"), threshold=(2.0, 1.0))),
    "recurrent, one weight, synaptic": Recipe(
        _synaptic(
            (9, 8, 2), (5,), 20, reset="zero", recurrent=("fc1:one", "fc2"), learn_threshold=True, learn_beta=True
        ),
        gain=(1.5, 1.5, 0.5, 1.5, 1.5),
    ),
    "recurrent twice, averages, 3 bits": Recipe(
        _leaky((9, 10, 2), (6,), 20, 12, steps=20, pool="avg", reset="zero", weight_bits=3, recurrent=("fc1", "fc2")),
    ),
    # Their weights on images have 5 bits at least, and up to four more.
    "recurrent on images": Recipe(_leaky((33, 32, 1), (), 30, steps=20, recurrent=("fc1",), per_channel=("beta",))),
    "recurrent on images, 6 bits": Recipe(
        _leaky((33, 32, 1), (), 30, steps=20, recurrent=("fc1", "fc2:one"), weight_bits=6)
    ),
    # Its file has the nodes in another order, and c is read by two layers of neurons.
    "feedback": Recipe(
        _described(
            (5, 4, 2),
            Node("a", "leaky", ("in", "back", "c"), reset="zero", learn=["beta"]),
            Node("back", "linear", "b@1", channels=12, bias=False),
            Node("b", "leaky", ("middle", "own", "c"), threshold=1.5, beta=0.8),
            Node("own", "one_to_one", "b@1", channels=12),
            Node("middle", "linear", "a", channels=12),
            Node("flat", "flatten", "image"),
            Node("in", "linear", "flat", channels=12),
            Node("c", "linear", "flat", channels=12, bias=False),
            Node("out", "linear", "b", channels=4),
            Node("last", "synaptic", "out", per_channel=["alpha", "threshold"]),
        )
    ),
    # An average, a maximum and a sum meet, and a convolution of the last step's spikes.
    "branches": Recipe(
        _described(
            (12, 12, 2),
            Node("small", "convolution", "image", channels=5, kernel=3, padding=1),
            Node("large", "convolution", "image", channels=5, kernel=5, padding=4, stride=2),
            Node("averages", "avg_pool", "small"),
            Node("sums", "sum_pool", "large", stride=1),
            Node("cut", "max_pool", "sums", size=2, stride=1),
            Node("early", "leaky", ("averages", "cut", "memory"), reset="zero", beta=0.25),
            Node("memory", "convolution", "early@1", channels=5, kernel=3, padding=1),
            Node("pool", "avg_pool", "early"),
            Node("flat", "flatten", "pool"),
            Node("beside", "flatten", "early"),
            Node("fc", "linear", "flat", channels=7),
            Node("skip", "linear", "beside", channels=7, bias=False),
            Node("out", "leaky", ("skip", "fc")),
        ),
        gain=(1.0, 0.3, 2.0, 2.0, 2.0),
    ),
    "mixed neurons": Recipe(
        _described(
            (8, 9, 1),
            Node("conv", "convolution", "image", channels=4, kernel=3, bias=False),
            Node("one", "synaptic", "conv", alpha=0.25, reset="clear", learn=["alpha", "threshold"]),
            Node("pool", "sum_pool", "one"),
            Node("flat", "flatten", "pool"),
            Node("fc", "linear", "flat", channels=9),
            Node("two", "leaky", ("fc", "rec"), reset="none", beta=0.75, threshold=2.0),
            Node("rec", "linear", "two@1", channels=9, bias=False),
            Node("fc2", "linear", "two", channels=6),
            Node("end", "synaptic", "fc2", integrator=True),
        ),
    ),
    "separate inputs": Recipe(
        _described(
            (7, 6, 1),
            Node("flat", "flatten", "image"),
            Node("fc1", "linear", "flat", channels=15),
            Node("lif1", "leaky", ("fc1", "rec1"), reset="mute", separate=True, beta=0.7, per_channel=["beta"]),
            Node("rec1", "linear", "lif1@1", channels=15),
            Node("fc2", "linear", "lif1", channels=11),
            Node("lif2", "synaptic", ("rec2", "fc2"), reset="zero", separate=True, alpha=0.6),
            Node("rec2", "one_to_one", "lif2@1", channels=11, bias=True),
            Node("fc3", "linear", "lif2", channels=5),
            Node("lif3", "leaky", ("fc3", "rec3"), separate=True, beta=0.9),
            Node("rec3", "linear", "lif3@1", channels=5, bias=False),
        )
    ),
    "deduct": Recipe(
        _described(
            (8, 7, 1),
            Node("conv", "convolution", "image", channels=4, kernel=3),
            Node("lif", "leaky", "conv", reset="deduct", beta=0.75, learn=["beta", "threshold"]),
            Node("flat", "flatten", "lif"),
            Node("fc1", "linear", "flat", channels=9),
            Node("syn", "synaptic", "fc1", reset="deduct", alpha=0.25, beta=0.8, learn=["beta"], per_channel=["beta"]),
            Node("fc2", "linear", "syn", channels=5),
            Node("last", "leaky", "fc2"),
        )
    ),
    # Weights are almost as large as they may be, and their sums add up to 24 bits.
    "recurrent, large weights": Recipe(
        _leaky((10, 10, 2), (5,), 40, steps=20, pool="avg", recurrent=("fc1", "fc2"), beta=1.0, threshold=2.0**28),
        power=28,
    ),
    # Blocks add their input as it is, pooled, and pooled and through a 1x1 convolution.
    "residual": Recipe(
        _leaky(
            *((9, 10, 2), (6, 6, 6, 7), 12),
            steps=20,
            pool=("none", "none", "max", "max"),
            residual=("conv2", "conv3", "conv4"),
        ),
        gain=(2.0, 1.0, 1.0, 2.0, 1.0, 2.0, 2.0),
    ),
    # Averages of sums of spikes and averages enter the linear layer.
    "residual, averages after, 3 bits": Recipe(
        _leaky(
            *((12, 9, 2), (6, 6, 8, 8), 12),
            steps=20,
            pool=("none", "avg", "none", "avg"),
            pool_after=True,
            reset="zero",
            weight_bits=3,
            residual=("conv2", "conv3", "conv4"),
            recurrent=("fc1",),
        ),
    ),
    "delayed spikes": Recipe(
        _described(
            (10, 9, 2),
            Node("conv1", "convolution", "image", channels=6, kernel=3, padding=1),
            Node("lif1", "leaky", "conv1", reset="zero"),
            Node("conv2", "convolution", ("lif1", "lif1@3"), channels=6, kernel=3, padding=1),
            Node("near", "convolution", "lif1@1", channels=6, kernel=1, bias=False),
            Node("lif2", "leaky", ("conv2", "near"), reset="zero", threshold=1.5),
            Node("features", "flatten", ("lif2", "lif1@2")),
            Node("fc1", "linear", "features", channels=12),
            Node("lif3", "leaky", "fc1", reset="zero", beta=0.75),
            Node("fc2", "linear", ("lif3", "lif3@5"), channels=5),
            Node("lif4", "leaky", "fc2", reset="zero"),
            steps=40,
        ),
    ),
    # Of the image, spikes, currents, pools and features, also in cycles and over the whole window.
    "delays": Recipe(
        _described(
            (9, 8, 1),
            Node("conv1", "convolution", ("image", "image@2"), channels=5, kernel=3, padding=1),
            Node("lif1", "leaky", ("conv1", "conv1@3", "early"), reset="zero"),
            Node("early", "convolution", "lif1@4", channels=5, kernel=3, padding=1),
            Node("pool1", "max_pool", ("lif1", "lif1@1", "lif1@5")),
            Node("conv2", "convolution", ("pool1", "pool1@2"), channels=5, kernel=1),
            Node("conv3", "convolution", "lif1@2", channels=5, kernel=2, stride=2, bias=False),
            Node("lif2", "leaky", ("conv2", "conv3@1"), beta=0.75),
            Node("averages", "avg_pool", ("lif2", "pool1@3")),
            Node("features", "flatten", ("averages", "averages@1")),
            Node("fc1", "linear", ("features", "features@12"), channels=10),
            Node("rec1", "one_to_one", "lif3@2", channels=10),
            Node("lif3", "leaky", ("fc1", "rec1")),
            Node("fc2", "linear", ("lif3", "lif3@1"), channels=5),
            Node("lif4", "leaky", ("fc2", "fc2@16")),
            steps=16,
        ),
    ),
    "floats": Recipe(_leaky((9, 8, 2), (5,), steps=12, scale=4096.0, input_bits=12)),
}
NETWORKS = tuple(RECIPES)


@functools.cache
def network(name: str) -> Network:
    """One of `NETWORKS`."""
    return made(RECIPES[name], zlib.crc32(name.encode()))


def made(recipe: Recipe, seed: int) -> Network:
    """Draws a network's parameters and input."""
    rng, config, masters = np.random.default_rng(seed), recipe.config, dict[str, np.ndarray]()
    gains = iter(recipe.gain if isinstance(recipe.gain, tuple) else (recipe.gain,) * len(config.graph.weighted))
    neurons = {node.name for node in config.graph.neurons}
    for key, shape in expected_shapes(config).items():
        if key.partition(".")[0] in neurons:
            masters[key] = np.asarray(recipe.values.get(key, rng.uniform(0.3, 0.9, shape)), np.float32)
        elif key.endswith("weight"):
            inputs = np.prod(shape[1:])
            masters[key] = (rng.normal(0, next(gains) / inputs**0.5, shape) + 1 / inputs).astype(np.float32)
        elif key.endswith("bias"):
            masters[key] = rng.normal(0.1, 0.2, shape).astype(np.float32)
    scaled = {
        key: value if key.partition(".")[0] in neurons else np.ldexp(value, recipe.power)
        for key, value in masters.items()
    }
    masters = with_exponents(config, scaled)
    return Network(config, masters, on_grid(config, masters), _input(recipe, rng))


def _input(recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    config, shape = recipe.config, (IMAGES, *recipe.config.input_shape)
    if config.encoding == "direct" and not recipe.counts:
        x = (
            rng.integers(0, 256, shape, np.uint8)
            if config.pixels.are_bytes
            else rng.uniform(0, 1, shape).astype(np.float32)
        )
        x[:, :, recipe.dark or shape[2] :] = 0
        return x
    x = rng.integers(1, recipe.counts or 1, (config.time_steps, *shape), np.uint8, endpoint=True)
    x[rng.uniform(size=x.shape) > 0.3] = 0
    x[recipe.dark or config.time_steps :] = 0
    return x
