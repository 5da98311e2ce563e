"""Jitted functions that run a network: batches for a whole window, with the right engine, or frame by frame."""

from collections.abc import Callable
from functools import lru_cache, partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from numpy.typing import ArrayLike

from csnn_jax import engine as engines
from csnn_jax.config import ModelConfig
from csnn_jax.config.graph import IMAGE
from csnn_jax.data import Images, Split, as_images, as_input, eval_batches
from csnn_jax.data.images import for_network
from csnn_jax.devices.mesh import Devices
from csnn_jax.engine import scan
from csnn_jax.network.model import CSNN, advance, scaled_input, with_rounded_weights
from csnn_jax.runs import metrics
from csnn_jax.runs.metrics import Evaluation, Moments, NeuronSummary
from csnn_jax.window import Carry, SpikeCounts, Trace, output


class Runners:
    """Runs a network with an engine that supports the images: frames may need a different one than single images.

    Args:
        model: the network; its parameters are passed as arguments when it runs.
        engine: "scan", "event" or "auto", see `engine.choose`.
        seed: seed of the rate encoding.
        devices: devices that share each batch, see `BatchRunner`.

    Raises:
        UserError: the engine can't run the network.
    """

    def __init__(self, model: CSNN, engine: str = "auto", seed: int = 0, devices: Devices | None = None):
        self._choose = partial(engines.choose, engine, model)
        self._choose()
        self._make = partial(BatchRunner, model, seed=seed, devices=devices)
        self._made: dict[ModuleType, BatchRunner] = {}

    def of(self, images: Images | Array | None = None) -> "BatchRunner":
        """The runner for these images; None: images without a time axis.

        Raises:
            UserError: the requested engine can't run them.
        """
        engine, _ = self._choose(images)
        if engine not in self._made:
            self._made[engine] = self._make(engine)
        return self._made[engine]

    def describe(self, images: Images | Array | None = None) -> str:
        """The engine for these images and why, in a few words for the log."""
        return self._choose(images)[1]


class Compiled(NamedTuple):
    """A network's jitted functions of (parameters, x). Parameters are rounded, except for `round` and `compare`.

    Attributes:
        round: parameters -> those on their grids.
        count: `engine.count`, on all devices.
        ever_fired: `engine.ever_fired`.
        outputs: what the class is read from [time, batch, classes].
        trace: `engine.trace`, without the last states.
        compare: (parameters, others, x) -> the outputs of both, the number of bits that differ in each layer, and
            whether it spikes.
        membranes: each layer's membranes and thresholds.
        moments: each layer's `Moments`.
    """

    round: Callable
    count: Callable
    ever_fired: Callable
    outputs: Callable
    trace: Callable
    compare: Callable
    membranes: Callable
    moments: Callable


@lru_cache(maxsize=8)
def compiled(graphdef: nnx.GraphDef, config: ModelConfig, engine: ModuleType, devices: Devices | None) -> Compiled:
    """The jitted functions that runners of equal networks share, so a network that is loaded again compiles nothing."""

    def of_parameters(function: Callable[[CSNN, Array], Any]) -> Callable[[Any, Array], Any]:
        def run(params, x: Array) -> Any:
            network = nnx.merge(graphdef, params)
            network.on_grids = True
            return function(network, x)

        return run

    def membranes(model: CSNN, x: Array) -> list[tuple[Array, Array]]:
        thresholds = [jnp.asarray(layer.in_use["threshold"], model.dtype) for layer in model.neurons.values()]
        return list(zip(engine.trace(model, x)[1].membranes.values(), thresholds, strict=True))

    def moments(model: CSNN, x: Array) -> list[Moments]:
        return [metrics.moments(*layer) for layer in membranes(model, x)]

    record = of_parameters(lambda model, x: engine.record(model, x, config.readout))

    def compare(params, others, x: Array) -> tuple[tuple[Array, Array], dict[str, Array], dict[str, Array]]:
        (output, ours), (other, theirs) = record(params, x), record(others, x)
        differing = {name: jax.lax.population_count(bits ^ theirs[name]) for name, bits in ours.items()}
        sums = {name: one.reshape(len(one), -1).sum(1, dtype=jnp.int32) for name, one in differing.items()}
        return (output, other), sums, {name: bits.any() for name, bits in ours.items()}

    count = of_parameters(engine.count)
    functions = {
        "round": lambda params: nnx.split(with_rounded_weights(nnx.merge(graphdef, params)))[1],
        "count": devices.spread(count, devices.gather) if devices else count,
        "ever_fired": of_parameters(engine.ever_fired),
        "outputs": of_parameters(lambda model, x: engine.forward_with_densities(model, x, config.readout)[0]),
        "trace": of_parameters(lambda model, x: engine.trace(model, x)[1]),
        "compare": compare,
        "membranes": of_parameters(membranes),
        "moments": of_parameters(moments),
    }
    return Compiled(**{name: scan.jit(function) for name, function in functions.items()})


class BatchRunner:
    """Runs batches through a network for the whole window, with the parameters as an argument.

    Args:
        model: the network; only its structure is used.
        engine: an engine in csnn_jax.engine.
        seed: seed of the rate encoding.
        devices: devices that `share` and `evaluate` distribute batches over; None: `evaluate` uses one device, and
            `share` isn't available.

    Attributes:
        engine: as given.
        count_on_grids: (rounded parameters, input) -> sums over the window, `SpikeCounts`; a jitted function.
    """

    def __init__(self, model: CSNN, engine: ModuleType, seed: int, devices: Devices | None = None):
        self.engine, self._config, self._seed, self._devices = engine, model.config, seed, devices
        self._compiled = compiled(nnx.split(model)[0], model.config, engine, devices)
        self.count_on_grids = self._compiled.count
        self._rounded: tuple[Any, Any] = (None, None)  # the latest parameters, and the result

    def rounded(self, params):
        """The parameters with weights on their grids, computed once for all batches."""
        if self._rounded[0] is not params:
            self._rounded = params, self._compiled.round(params)
        return self._rounded[1]

    def count(self, params, x: Array) -> SpikeCounts:
        """Sums over the window."""
        return self.count_on_grids(self.rounded(params), x)

    def ever_fired(self, params, x: Array) -> tuple[Array, ...]:
        """Which channels ever spike in the window, as in `scan.ever_fired`."""
        return self._compiled.ever_fired(self.rounded(params), x)

    def trace(self, params, x: Array) -> Trace:
        """All states and spikes of an input, NumPy arrays."""
        return self._compiled.trace(self.rounded(params), x).map(np.asarray).ordered(self._config.graph)

    def compare_on_grids(self, params, others, x: Array) -> "Comparison":
        """Runs a network with two sets of parameters, which aren't rounded, to see what rounding changes."""
        outputs, differing, spiking = self._compiled.compare(params, others, x)
        first, second = map(np.asarray, outputs)
        total = sum(int(np.asarray(one, np.int64).sum()) for one in differing.values())
        return Comparison(first, second, total, {name for name, spikes in spiking.items() if spikes})

    def hold(self, images: Images | Array) -> Images | Array:
        """Prepares the images for `present`: on the device if they are already there, unless they must be encoded."""
        return np.asarray(images) if isinstance(images, Array) and self._config.encoding != "direct" else images

    def present(self, held: Images | Array, rows: np.ndarray, stream: tuple[int, int]) -> Array:
        """The network's input for some rows of the images: [batch, H, W, C] or [time, batch, H, W, C].

        Args:
            held: the result of `hold`.
            rows: indices of the images [batch].
            stream: identifies the batch for the rate encoding; csnn_torch draws the same spikes for it.
        """
        if isinstance(held, Array):
            return take(held, rows)
        x = as_input(np.asarray(held[rows]), self._config, (self._seed, *stream))
        return jax.device_put(x, may_alias=True)  # made for this batch alone

    def share(self, images: np.ndarray, batch: int, stream: tuple[int, int]) -> Array:
        """`present` for a batch that is distributed over devices; `images` are those of `Devices.rows(batch)`."""
        assert self._devices is not None
        within = self._devices.rows(batch).start, batch
        x = as_input(images, self._config, (self._seed, *stream), within)
        return self._devices.put(x, batch, x.ndim - 4)

    def evaluate(self, params, split: Split, go_on: Callable[[], bool] = lambda: True) -> Evaluation | None:
        """Evaluates all images of a split; see `metrics.evaluate`."""
        held = self.hold(split.images)

        def count(rows: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
            stream, batch = (1, number), len(rows)
            if self._devices is None:
                x = self.present(held, rows, stream)
            else:
                x = self.share(split.images[rows[self._devices.rows(batch)]], batch, stream)
            sums = self.count(params, x)
            return np.asarray(scan.predict(sums.scores))[:batch], np.asarray(sums.fired)[:batch]

        return metrics.evaluate(split, self._config, count, go_on)

    def by_steps(self, params, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """The class scores over the whole window, and the accuracy if the window ended earlier.

        Returns:
            Scores of every image and class [N, classes], as in `Answer`, and the accuracy after each step [time].
        """
        labels, held = split.labels, self.hold(split.images)
        index, valid = eval_batches(len(labels), min(metrics.BATCH, len(labels)))
        scores, right = [], []
        for number, (rows, real) in enumerate(zip(index, valid, strict=True)):
            x = self.present(held, rows, (1, number))
            output = np.asarray(self._compiled.outputs(self.rounded(params), x))[:, real]
            kind = np.int32 if self._config.readout == "spikes" else output.dtype
            so_far = output.cumsum(0, dtype=kind)
            scores.append(so_far[-1])
            right.append((so_far.argmax(-1) == labels[rows[real]]).sum(1))
        return np.concatenate(scores), np.sum(right, 0) / len(labels)

    def summarize_neurons(self, params, images: Images) -> dict[str, NeuronSummary]:
        """Membranes and dead channels of every layer; see `metrics.summarize`."""

        params = self.rounded(params)

        def run(some: np.ndarray, number: int) -> list[Moments]:
            x = self.present(self.hold(some), np.arange(len(some)), (3, number))
            if jax.default_backend() != "cpu":  # only sums leave the device
                return jax.device_get(self._compiled.moments(params, x))
            # On a CPU, XLA's sums take four times as long as NumPy's, and a second to compile.
            layers = self._compiled.membranes(params, x)
            return [metrics.moments(np.asarray(membranes), np.asarray(theta)) for membranes, theta in layers]

        return metrics.summarize(images, self._config, run)


@jax.jit
def take(array: Array, index: np.ndarray) -> Array:
    """Rows of `array`; images with a time axis [N, T, ...] become time-major [T, batch, ...]."""
    rows = array[index]
    return rows.swapaxes(0, 1) if array.ndim == 5 else rows


class Comparison(NamedTuple):
    """What a network computes with two sets of parameters.

    Attributes:
        first, second: outputs, spikes or membranes [time, batch, classes].
        differing: how many of all neurons' spikes differ.
        spiking: the neurons that spike with the first, by name.
    """

    first: np.ndarray
    second: np.ndarray
    differing: int
    spiking: set[str]


class StreamStep(NamedTuple):
    """The result of one frame.

    Attributes:
        spikes: spikes of the output neurons at this step, 0 or 1: int [classes] or [batch, classes].
        scores: score of each class since the last reset, as in `Answer`: int, number of output spikes, or float, sum of
            the output membranes if the network's readout is the membrane. Same shape as `spikes`.
    """

    spikes: np.ndarray
    scores: np.ndarray


class Stream:
    """Runs a trained network one frame at a time; `Trained.stream` makes it.

    Args:
        model: the network.
        batch: number of parallel streams; None: one, without a batch axis in frames and results.
    """

    def __init__(self, model: CSNN, batch: int | None = None):
        self._model, self._batch = model, batch
        graphdef, self._params = nnx.split(with_rounded_weights(model))
        last = model.config.graph.neurons[-1].name

        def step(params, states: Carry, scores: Array, frame: Array) -> tuple[Carry, Array, Array]:
            network = nnx.merge(graphdef, params)
            states, after = advance(network, states, {IMAGE: scaled_input(network, frame)})
            return states, after.values[last], scores + output(model.config, after.states, after.values)

        self._step = jax.jit(step, donate_argnums=(1, 2))
        self.reset()

    def reset(self) -> None:
        """Resets to the state before the first frame: membranes and scores are 0."""
        batch = 1 if self._batch is None else self._batch
        self._states = self._model.initial_states(batch)
        self._scores = jnp.zeros((batch, self._model.config.num_classes), self._model.dtype)

    def __call__(self, frame: ArrayLike) -> StreamStep:
        """Takes the next frame.

        Args:
            frame: [H, W, C], or [batch, H, W, C] if the stream has a batch, as in `classify`. Pass a still image at
                every step; with rate or latency encoding, pass its spikes at this step.

        Raises:
            ValueError: the frame has the wrong shape or type; the state is unchanged.
        """
        config, shape = self._model.config, self._model.config.input_shape
        x = np.asarray(
            as_images(frame, "pixels of frame", config.pixels.brightest if config.encoding == "direct" else 1)
        )
        expected = shape if self._batch is None else (self._batch, *shape)
        if x.shape != expected:
            raise ValueError(f"frame is {list(x.shape)}, expected {list(expected)}")
        if config.encoding == "direct":
            x = np.asarray(for_network(x.reshape(-1, *shape), config, "pixels of frame"))
        elif ((x != 0) & (x != 1)).any():
            spikes = f"spikes, as from {config.encoding} encoding"
            raise ValueError(f"frame has values other than 0 and 1, expected {spikes}")
        state = self._states, self._scores
        self._states, spikes, self._scores = self._step(self._params, *state, x.reshape(-1, *shape))
        # Copied, because the next step overwrites the scores.
        answer, scores = np.asarray(spikes).astype(np.int64), np.array(self._scores)
        if self._model.config.readout == "spikes":
            scores = scores.astype(np.int64)
        return StreamStep(answer[0], scores[0]) if self._batch is None else StreamStep(answer, scores)
