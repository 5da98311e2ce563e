"""The weights that a job starts from: torch's, torch's scaled layer by layer until the neurons fire, or another run's.

Computed in NumPy from the seed's random numbers, with gains on a grid, so every engine and both frameworks start from
the same tensors.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig
from csnn_jax.config.graph import IMAGE, Edge, Graph, NeuronNode, Node, Signal, WeightedNode
from csnn_jax.errors import UserError
from csnn_jax.initial import simulation
from csnn_jax.neurons.neuron import NEVER, Values
from csnn_jax.runs import rundir
from csnn_jax.runs.layouts import Arrays, Tensors, expected_shapes, from_tensors, to_tensors, with_exponents
from csnn_jax.runs.normalization import EPSILON, Norm
from csnn_jax.window import Parameters

GRID = 8  # gains are powers of 2^(1/8)
LOWEST, HIGHEST = -8 * GRID, 12 * GRID
IMAGE_POWER = 0.1  # mean square of a pixel (0 to 1) that `fluctuation` assumes; MNIST's is 0.10
FRAMES = 3200  # images times steps in the calibration batch, so long windows don't take more memory


class Start(NamedTuple):
    """The parameters that training starts from, and how they differ from torch's.

    Attributes:
        model: the network.
        arrays: the parameters in our own layout.
        before: density of each layer with torch's weights, on a training batch [layers]; None if they are kept.
        after: the same with `arrays`.
        classes: the given weights' number of classes, if it differs and the last layer was redrawn; otherwise None.
    """

    model: ModelConfig
    arrays: Arrays
    before: list[float] | None = None
    after: list[float] | None = None
    classes: int | None = None

    @classmethod
    def given(cls, model: ModelConfig, tensors: Tensors) -> "Start":
        """A start from given weights, with torch's names and layouts."""
        return cls(model, from_tensors(model, with_exponents(model, tensors)))

    @property
    def tensors(self) -> Tensors:
        """The parameters with torch's names and layouts."""
        return to_tensors(self.model, self.arrays)


def start(config: Config, train: data.Split) -> Start:
    """The initial weights of a job.

    Args:
        config: the job, with `init` decided.
        train: training data; `calibrated` runs the network on the first images of the first batch.

    Raises:
        UserError: `init_from` isn't a run or a weights file, or the weights don't fit the network.
    """
    model = config.model
    if config.train.init_from is not None:
        return _given(config)
    arrays = drawn(config)
    if config.train.init == "torch":
        return Start.given(model, to_tensors(model, arrays))
    x = _input(config, train)
    before = simulation.densities(model.graph, _parameters(model, arrays), x, _steps(model, x))
    make = _fluctuation if config.train.init == "fluctuation" else _calibrated
    arrays = make(model, arrays, config.train.init_density, x)
    after = simulation.densities(model.graph, _parameters(model, arrays), x, _steps(model, x))
    return Start.given(model, to_tensors(model, arrays))._replace(before=before, after=after)


def drawn(config: Config) -> Arrays:
    """Torch's initial weights, uniform in +-1/sqrt(fan_in), drawn by JAX from the seed, without exponents of grids."""
    import jax

    from csnn_jax.network import model

    with jax.enable_x64(config.train.dtype == "float64"):
        network = model.CSNN(replace(config.model, weight_bits=None), config.train.seed, dtype=config.train.dtype)
        return model.arrays(network)


def _given(config: Config) -> Start:
    """The weights of another run; those of the output neurons are redrawn if the number of classes differs.

    Raises:
        UserError: the weights don't fit the network; the message names the first layer that differs.
    """
    model, path = config.model, config.train.init_from
    assert path is not None
    origin, tensors = rundir.origin(path)
    shapes, refits = expected_shapes(model), _refitted(model, origin.num_classes, tensors)
    redrawn = to_tensors(model, drawn(config)) if refits else {}
    neurons, same = model.graph.initial, _unchanged(model, origin)
    made: Tensors = {}
    for name, shape in shapes.items():
        if name in neurons:
            fits = name.partition(".")[2] in same and name in tensors and tensors[name].shape == shape != ()
            made[name] = np.asarray(tensors[name] if fits else neurons[name], config.train.dtype)
        elif name.endswith(".exponents"):
            continue  # they may be for a different number of bits
        elif name.rpartition(".")[0] in refits:
            made[name] = redrawn[name]
        elif name not in tensors or tensors[name].shape != shape:
            there = f"shape {list(tensors[name].shape)}" if name in tensors else "nothing"
            raise UserError(f"--init-from {path}: has {there} for {name}, expected {list(shape)}")
        else:
            made[name] = tensors[name]
    left = [name for name in tensors if name not in made and name.rpartition(".")[2] in ("weight", "bias")]
    if left:
        raise UserError(f"--init-from {path}: has {left[0]}, which this network doesn't use")
    return Start.given(model, made)._replace(classes=origin.num_classes if refits else None)


def _refitted(model: ModelConfig, classes: int, tensors: Tensors) -> set[str]:
    """The weighted nodes of the output neurons, if the given weights differ only in their number of classes."""
    graph, last = model.graph, model.graph.neurons[-1]
    refitted = set[str]()
    for node in graph.sources(last) if classes != model.num_classes else ():
        shape = expected_shapes(model)[f"{node.name}.weight"]
        own = any(edge.source == last.name for edge in graph.reads(node))
        before = (classes, *((classes,) if own else ()), *shape[1:])[: len(shape)]
        if f"{node.name}.weight" in tensors and tensors[f"{node.name}.weight"].shape == before:
            refitted.add(node.name)
    return refitted


def _unchanged(model: ModelConfig, origin: ModelConfig) -> set[str]:
    """The parameters with the same configured values in all layers as in the network that the weights come from."""
    before = {node.name: node.operation for node in origin.graph.neurons}
    unchanged = {name for node in model.graph.neurons for name, _ in node.operation.configured}
    for node in model.graph.neurons:
        then = dict(before[node.name].configured) if node.name in before else {}
        unchanged -= {
            name for name, value in node.operation.configured if then.get(name) not in (value, NEVER) and value != NEVER
        }
    return unchanged


def normalized(config: Config, start: Start, train: data.Split) -> tuple[Tensors, dict[str, Norm]]:
    """The parameters that training with batch normalization starts from: (tensors, the normalization by name).

    With torch's weights, scales are 1 and biases 0, as in torch. With others, the network computes the same as without
    on a training batch: a scale is the standard deviation of a convolution's output there, and the bias its mean.
    """
    model, tensors, norms = config.model, start.tensors, dict[str, Norm]()
    if config.train.init == "torch":
        for node in (node for node in model.graph.weighted if node.is_convolution):
            bias = tensors[f"{node.name}.bias"] = np.zeros_like(tensors[f"{node.name}.bias"])
            norms[node.name] = Norm(bias + 1, bias, bias + 1)
        return tensors, norms
    x = _input(config, train)
    seen = simulation.statistics(model.graph, _parameters(model, start.arrays), x, _steps(model, x))
    for name, (mean, variance) in seen.items():
        bias = tensors[f"{name}.bias"]
        mean, variance = mean.astype(bias.dtype), variance.astype(bias.dtype)
        norms[name] = Norm(np.sqrt(variance + bias.dtype.type(EPSILON)), mean - bias, variance)
        tensors[f"{name}.bias"] = mean
    return tensors, norms


def summary(made: Start, config: Config) -> str | None:
    """One line for the log, with each layer's density before and after; None for torch's weights."""
    if config.train.init_from is not None:
        line = f"Initial weights: from {config.train.init_from}"
        if made.classes is None:
            return line
        graph, classes = made.model.graph, made.model.num_classes
        names = [node.name for node in graph.sources(graph.neurons[-1])]
        which = f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'}"
        return f"{line}; {which} reinitialized for {classes} classes instead of {made.classes}"
    if made.before is None or made.after is None:
        return None
    rows = zip(made.model.graph.spiking, made.before, made.after, strict=False)
    shares = [f"{node.name} {before:.2%} to {after:.2%}" for node, before, after in rows]
    return f"Initial weights: {config.train.init}; densities change from torch's: " + ", ".join(shares)


def _input(config: Config, train: data.Split) -> np.ndarray:
    """The network's input for the first images of the first batch: [time or 1, batch, H, W, C] float32."""
    model, settings = config.model, config.train
    steps = train.images.shape[1] if train.images.ndim == 5 else model.time_steps
    count = len(train.labels)
    rows = data.epoch_batches(settings.seed, 0, count, min(settings.batch_size, count))[0]
    images = train.images[rows[: max(4, min(128, FRAMES // steps))]]
    x = data.as_floats(data.as_input(images, model, (settings.seed, 0, 0)), model)
    return x if x.ndim == 5 else x[None]


def _calibrated(model: ModelConfig, arrays: Arrays, density: float, x: np.ndarray) -> Arrays:
    """Scales the weights and biases that bring neurons the image or the spikes of layers before them.

    Layer by layer, all of these get the one gain that brings the density on x closest to the target. Such a current is
    proportional to the gain, even after max pooling, so it's computed once, and bisection finds the gain. Other weights
    stay torch's: those of an integrator, and those that only bring spikes of the layer itself or of later layers, which
    are silent until it's their turn.
    """
    graph, fired, done = model.graph, {IMAGE: x}, set[str]()
    for neurons in graph.spiking:
        layer = simulation.Layer(graph, neurons, _parameters(model, arrays, neurons), fired, _steps(model, x))
        below = {edge: _below(graph, graph[edge.source]) for edge in layer.entering}
        sources = [node for node in graph.sources(neurons) if node.name not in done]
        free = {node.name for node in sources if any(edge.source in fired for edge in graph.reads(node))}
        while mixed := {name for names in below.values() if not names <= free for name in names & free}:
            free -= mixed  # they share a maximum with others
        nodes, edges = free & layer.part.nodes.keys(), {edge for edge, names in below.items() if names & free}

        def at(
            step: int, layer: simulation.Layer = layer, nodes: set[str] = nodes, edges: set[Edge] = edges
        ) -> np.ndarray:
            return layer.spikes(2 ** (step / GRID), nodes, edges)

        low, high = (LOWEST, HIGHEST) if free else (0, 0)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if at(middle).mean() < density else (low, middle)
        step = min((low, high), key=lambda step: abs(math.log(max(at(step).mean(), 1e-9) / density)))
        fired[neurons.name] = at(step)
        arrays = _scaled(arrays, free, step)
        done |= free
    return arrays


def _below(graph: Graph, node: Node) -> set[str]:
    """The weighted nodes that a current consists of; none for a signal."""
    if isinstance(node, WeightedNode):
        return {node.name}
    return set() if isinstance(node.values, Signal) else {one.name for one in graph.sources(node)}


def _fluctuation(model: ModelConfig, arrays: Arrays, density: float, x: np.ndarray) -> Arrays:
    """Fluctuation-driven weights: membranes without reset have mean 0 and a deviation of threshold / xi.

    xi is the quantile of the normal distribution above which a fraction `density` lies. Independent spikes with rate
    `density`, through n weights of variance s, give the membrane a variance of n s density times the sum of squares of
    its response to a single current, which is 1 / (1 - beta^2) for leaky neurons. An image is the same at every step
    and gives n s power times the square of the sum. The uniform weights of all of the neurons' inputs, recurrent ones
    too, are scaled to that variance by one gain; biases are 0. An integrator keeps torch's weights. Rossbroich, Gygax
    and Zenke, "Fluctuation-driven initialization for spiking neural network training", 2022.
    """
    xi, done = NormalDist().inv_cdf(1 - density) if density < 0.5 else 0.1, set[str]()
    for neurons in model.graph.spiking:
        response = simulation.response(neurons.operation)
        per_weight = 0.0  # times n s; torch's is 1/3
        for node in model.graph.sources(neurons):
            for edge in model.graph.reads(node):
                constant = edge.source == IMAGE and x.shape[0] == 1
                power = IMAGE_POWER if edge.source == IMAGE else density
                per_weight += power * (response.sum() ** 2 if constant else (response**2).sum())
        gain = neurons.operation["threshold"] / xi * math.sqrt(3 / per_weight)
        names = {node.name for node in model.graph.sources(neurons)} - done
        arrays = _scaled(arrays, names, round(GRID * math.log2(gain)))
        done |= names
        arrays |= {bias: np.zeros_like(arrays[bias]) for name in names if (bias := f"{name}.bias") in arrays}
    return arrays


def _scaled(arrays: Arrays, nodes: Iterable[str], step: int) -> Arrays:
    """The parameters with the kernels and biases of some nodes times 2^(step / 8)."""
    names = [name for node in nodes for name in (f"{node}.kernel", f"{node}.bias") if name in arrays]
    return arrays | {name: arrays[name] * arrays[name].dtype.type(2 ** (step / GRID)) for name in names}


def _steps(model: ModelConfig, x: np.ndarray) -> int:
    """The number of steps for an input [time or 1, batch, H, W, C]."""
    return model.time_steps if len(x) == 1 else len(x)


def _parameters(model: ModelConfig, arrays: Arrays, neurons: NeuronNode | None = None) -> Parameters:
    """The configured values of neurons and their weights, rounded to their grids, as in the network; None: of all."""
    graph = model.graph
    layers = graph.neurons if neurons is None else (neurons,)
    made: dict[str, Values] = {
        node.name: {name: np.float32(value) for name, value in node.operation.configured} for node in layers
    }
    needed = {source.name for node in layers for source in graph.sources(node)}
    for names, group in graph.groups.items():
        if needed.isdisjoint(names):
            continue
        nodes = [node for node in graph.weighted if node.name in names]
        weights = [
            (
                arrays[f"{node.name}.kernel"].astype(np.float32),
                (arrays[f"{node.name}.bias"] if node.bias else np.zeros(node.channels)).astype(np.float32),
            )
            for node in nodes
        ]
        exponents = [
            node.grid.choose(*one) if node.grid.chosen else None for node, one in zip(nodes, weights, strict=True)
        ]
        for node, (weight, bias) in zip(nodes, group.round(weights, exponents=exponents), strict=True):
            made[node.name] = {"weight": weight, "bias": bias}
    return made
