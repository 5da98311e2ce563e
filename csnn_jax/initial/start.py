"""The weights that a job starts from: torch's, torch's scaled layer by layer until the neurons fire, or another run's.

Computed in NumPy from the seed's random numbers, with gains on a grid, so every engine and both frameworks start from
the same tensors.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig
from csnn_jax.config.graph import NeuronNode, WeightedNode
from csnn_jax.errors import UserError
from csnn_jax.initial import simulation
from csnn_jax.runs import rundir
from csnn_jax.runs.layouts import Arrays, Tensors, expected_shapes, from_tensors, to_tensors, with_exponents

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
    before = [density for _, density in _layers(model, arrays, x)]
    make = _fluctuation if config.train.init == "fluctuation" else _calibrated
    arrays = make(model, arrays, config.train.init_density, x)
    after = [density for _, density in _layers(model, arrays, x)]
    return Start.given(model, to_tensors(model, arrays))._replace(before=before, after=after)


def drawn(config: Config) -> Arrays:
    """Torch's initial weights, uniform in +-1/sqrt(fan_in), drawn by JAX from the seed, without exponents of grids."""
    import jax

    from csnn_jax.network import model

    with jax.enable_x64(config.train.dtype == "float64"):
        network = model.CSNN(replace(config.model, weight_bits=None), config.train.seed, dtype=config.train.dtype)
        return model.arrays(network)


def _given(config: Config) -> Start:
    """The weights of another run; the last layer's are redrawn if the number of classes differs.

    Raises:
        UserError: the weights don't fit the network; the message names the first layer that differs.
    """
    model, path = config.model, config.train.init_from
    assert path is not None
    origin, tensors = rundir.origin(path)
    shapes, last = expected_shapes(model), model.graph.weighted[-1].name
    weight = f"{last}.weight"
    before, after = tensors[weight].shape if weight in tensors else (), shapes[weight]
    refits = before[:1] != after[:1] and before[1:] == after[1:]
    redrawn = to_tensors(model, drawn(config)) if refits else {}
    neurons = model.graph.initial
    same = [name for name in model.per_channel if name in origin.per_channel and model.each(name) == origin.each(name)]
    made: Tensors = {}
    for name, shape in shapes.items():
        if name in neurons:
            fits = name.partition(".")[2] in same and name in tensors and tensors[name].shape == shape
            made[name] = np.asarray(tensors[name] if fits else neurons[name], config.train.dtype)
        elif name.endswith(".exponents"):
            continue  # they may be for a different number of bits
        elif refits and name.startswith(f"{last}."):
            made[name] = redrawn[name]
        elif name not in tensors or tensors[name].shape != shape:
            there = f"shape {list(tensors[name].shape)}" if name in tensors else "nothing"
            raise UserError(f"--init-from {path}: has {there} for {name}, expected {list(shape)}")
        else:
            made[name] = tensors[name]
    left = [name for name in tensors if name not in made and name.rpartition(".")[2] in ("weight", "bias")]
    if left:
        raise UserError(f"--init-from {path}: has {left[0]}, which this network doesn't use")
    return Start.given(model, made)._replace(classes=len(tensors[weight]) if refits else None)


def summary(made: Start, config: Config) -> str | None:
    """One line for the log, with each layer's density before and after; None for torch's weights."""
    if config.train.init_from is not None:
        line = f"Initial weights: from {config.train.init_from}"
        if made.classes is None:
            return line
        last, classes = made.model.graph.weighted[-1].name, made.model.num_classes
        return f"{line}; {last} is reinitialized for {classes} classes instead of {made.classes}"
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


def _layers(model: ModelConfig, arrays: Arrays, x: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """Spikes and density of each layer in turn."""
    for neurons in model.graph.neurons:
        x = simulation.spikes(_current(model, neurons, arrays, x), model, neurons)
        yield x, float(x.mean())


def _calibrated(model: ModelConfig, arrays: Arrays, density: float, x: np.ndarray) -> Arrays:
    """Scales each layer's kernel and bias by the gain that brings its density on x closest to the target.

    A layer's current is proportional to the gain, even after max pooling, so it's computed once, and bisection finds
    the gain. An integrator keeps torch's weights.
    """
    for neurons in model.graph.spiking:
        current = _current(model, neurons, arrays, x)

        def at(step: int, current: np.ndarray = current, neurons: NeuronNode = neurons) -> np.ndarray:
            return simulation.spikes(current * np.float32(2 ** (step / GRID)), model, neurons)

        low, high = LOWEST, HIGHEST
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if at(middle).mean() < density else (low, middle)
        step = min((low, high), key=lambda step: abs(math.log(max(at(step).mean(), 1e-9) / density)))
        x = at(step)
        arrays = _scaled(arrays, model.graph.weights(neurons), step)
    return arrays


def _fluctuation(model: ModelConfig, arrays: Arrays, density: float, x: np.ndarray) -> Arrays:
    """Fluctuation-driven weights: membranes without reset have mean 0 and a deviation of threshold / xi.

    xi is the quantile of the normal distribution above which a fraction `density` lies. Independent spikes with rate
    `density`, through n weights of variance s, give the membrane a variance of n s density times the sum of squares of
    its response to a single current, which is 1 / (1 - beta^2) for leaky neurons. An image is the same at every step
    and gives n s power times the square of the sum. The uniform weights are scaled to that variance; biases are 0. An
    integrator keeps torch's weights. Rossbroich, Gygax and Zenke, "Fluctuation-driven initialization for spiking neural
    network training", 2022.
    """
    xi = NormalDist().inv_cdf(1 - density) if density < 0.5 else 0.1
    for neurons in model.graph.spiking:
        node = model.graph.weights(neurons)
        response = simulation.response(neurons.operation)
        first = model.graph.origin(node).operation is None
        constant = first and x.shape[0] == 1
        power = IMAGE_POWER if first else density
        per_weight = power * (response.sum() ** 2 if constant else (response**2).sum())  # times n s; torch's is 1/3
        gain = neurons.operation["threshold"] / xi * math.sqrt(3 / per_weight)
        arrays = _scaled(arrays, node, round(GRID * math.log2(gain)))
        if node.bias:
            arrays[f"{node.name}.bias"] = np.zeros_like(arrays[f"{node.name}.bias"])
    return arrays


def _scaled(arrays: Arrays, node: WeightedNode, step: int) -> Arrays:
    """The parameters with one node's kernel and bias times 2^(step / 8)."""
    names = [name for name in (f"{node.name}.kernel", f"{node.name}.bias") if name in arrays]
    return arrays | {name: arrays[name] * arrays[name].dtype.type(2 ** (step / GRID)) for name in names}


def _current(model: ModelConfig, neurons: NeuronNode, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    """The current of neurons, from weights and a bias (or 0) rounded to their grid, as in the network."""
    node = model.graph.weights(neurons)
    bias = arrays[f"{node.name}.bias"] if node.bias else np.zeros(node.channels)
    kernel, bias = arrays[f"{node.name}.kernel"].astype(np.float32), bias.astype(np.float32)
    exponents = node.grid.choose(kernel, bias) if node.grid.chosen else None
    weight, bias = node.grid.round(kernel, bias, exponents=exponents)
    return simulation.current(model.graph, neurons, {"weight": weight, "bias": bias}, x)
