"""A trained network: it classifies images and shows what its neurons do.

    model = csnn_jax.load("runs/2026-11-25_12-00-00")
    answer = model.classify(images)

Nothing here changes settings of the caller's process (JAX's types, its cache, the allocator).
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from numpy.typing import ArrayLike

from csnn_jax import engine as engines
from csnn_jax.config import Config, ModelConfig
from csnn_jax.data import Split, check_labels, encode, eval_batches
from csnn_jax.devices.mesh import Devices
from csnn_jax.engine import scan
from csnn_jax.network import model as models
from csnn_jax.runs import metrics, rundir, weights
from csnn_jax.runs.metrics import Evaluation, Moments, Neurons
from csnn_jax.runs.weights import Tensors


class Answer(NamedTuple):
    """What a network says of some images.

    Attributes:
        classes: the class with the most output spikes, the lowest on ties: int [batch].
        counts: output spikes of every class over the window: int [batch, classes].
    """

    classes: np.ndarray
    counts: np.ndarray


class Trained:
    """A network with its weights.

    Args:
        config: the job that it was trained in.
        tensors: its parameters in torch's names and layouts, see `runs.weights`.
        engine: "scan", "event", or "auto": event where it can run the network, else scan.

    Attributes:
        config: as given.
        model: the CSNN, for `step`, gradients, or the functions of csnn_jax.engine. Its type is the job's; float64
            needs jax_enable_x64 and is float32 without it.

    Raises:
        ValueError: a config that is none.
        UserError: tensors that are not this network's, or engine "event" can't run it; says why.
    """

    def __init__(self, config: Config, tensors: Tensors, engine: str = "auto"):
        if not isinstance(config, Config):
            raise ValueError(f"config is of type {type(config).__name__}, expected a Config")
        weights.check(tensors, config.model, "tensors")
        self.config = config
        self.model = models.from_tensors(config.model, tensors, jax.dtypes.canonicalize_dtype(config.train.dtype))
        engines.choose(engine, self.model)  # refuses now what it would refuse later
        self._engine = engine
        self._graphdef, self._params = nnx.split(self.model)
        self._windows: dict[bool, Windows] = {}

    def classify(self, images: ArrayLike) -> Answer:
        """Runs the window and counts output spikes; works in batches of 128.

        Args:
            images: an array, or lists that NumPy makes one of: [batch, H, W, C], or [batch, T, H, W, C] where they have
                a time axis of their own, whose length need not be the network's time_steps. uint8, of which
                `config.model.pixel_scale` (mostly 255) means 1.0, or floats from 0 to 1. uint8 where the network's
                encoding is rate or latency. Whole numbers in lists, from 0 to 255, are taken as uint8.

        Raises:
            ValueError: images of another shape or type, or none. Or they are traced: inside of `jax.jit`, `jax.vmap`
                and the like the functions of csnn_jax.engine run `model`.
            UserError: engine "event" was asked for, and the images have a time axis.
        """
        images = as_array(images, self.config.model)
        windows = self._for(images)
        held = windows.hold(images)
        index, valid = eval_batches(len(images), min(metrics.BATCH, len(images)))
        counts = [
            windows.tally(self._params, windows.present(held, rows, (1, number))).counts[: real.sum()]
            for number, (rows, real) in enumerate(zip(index, valid, strict=True))
        ]
        found = np.concatenate([np.asarray(c) for c in counts]).astype(np.int64)
        return Answer(found.argmax(1), found)

    def trace(self, images: ArrayLike) -> scan.Trace:
        """Runs the window and keeps every layer's membranes and spikes, all in memory at once.

        Args:
            images: as `classify` takes them.

        Returns:
            NumPy arrays, one per layer: `membranes` and `spikes`, each [time, batch, *shape].

        Raises:
            ValueError, UserError: as `classify`.
        """
        images = as_array(images, self.config.model)
        windows = self._for(images)
        found = windows.trace(self._params, windows.present(windows.hold(images), np.arange(len(images)), (2, 0)))
        return jax.tree.map(np.asarray, found)

    def evaluate(self, split: Split) -> Evaluation:
        """Accuracy, confusion and spike densities over a split of a data set (`csnn_jax.data.load`).

        Raises:
            ValueError: no split, one without images, labels outside the network's classes, or images that `classify`
                refuses.
        """
        if not isinstance(split, Split):
            raise ValueError(f"split is of type {type(split).__name__}, expected a Split, such as a Dataset's test")
        check_images(split.images, self.config.model)
        check_labels(split, self.config.model.num_classes)
        found = self._for(split.images).evaluate(self._params, split)
        assert found is not None
        return found

    def look(self, images: ArrayLike) -> dict[str, Neurons]:
        """Membranes and dead channels of every layer on some of the images, which `classify` takes."""
        images = np.asarray(as_array(images, self.config.model))
        return self._for(images).look(self._params, images)

    def _for(self, images: np.ndarray | Array) -> "Windows":
        """The functions that run such images, checked first."""
        check_images(images, self.config.model)
        frames = images.ndim == 5
        if frames not in self._windows:
            engine, _ = engines.choose(self._engine, self.model, frames)
            self._windows[frames] = Windows(self.config.model, self._graphdef, engine, self.config.train.seed)
        return self._windows[frames]


def load(run: str | Path, engine: str = "auto", checkpoint: str | int | None = None) -> Trained:
    """Loads the network that a run directory holds.

    Args:
        run: the directory, made by `csnn_jax.train`, `csnn_torch.train` or `csnn_torch.convert`.
        engine: "scan", "event" or "auto", see `Trained`.
        checkpoint: whose weights: "best", "last", or the iterations done; None: those of the run.

    Raises:
        UserError: no run there, no weights yet, no such checkpoint, files that do not fit together, or an engine that
            can't run it.
    """
    _, config, tensors = rundir.open_run(str(run), checkpoint)
    return Trained(config, tensors, engine)


def predict(counts: Array) -> Array:
    """The class [batch] with the most output spikes [batch, classes], the lowest on ties (snnTorch `accuracy_rate`)."""
    return counts.argmax(-1)


class Windows:
    """Whole windows of a network, jitted, with the parameters as an argument: what training and loading share.

    Args:
        config: the network.
        graphdef: its structure, from `nnx.split`.
        engine: one of those in csnn_jax.engine.
        seed: of the rate encoding.
        devices: that `share` and `evaluate` spread batches over; None: `evaluate` takes one, and there is no `share`.

    Attributes:
        tally: (parameters, input) -> sums over the window, `scan.Tally`.
        trace: (parameters, input) -> everything that happened, `scan.Trace`.
        scale: what an input of bytes is divided by; encoded spikes are 0 or 1 already.
    """

    def __init__(
        self,
        config: ModelConfig,
        graphdef: nnx.GraphDef,
        engine: ModuleType,
        seed: int,
        devices: Devices | None = None,
    ):
        self._config, self._seed, self._devices = config, seed, devices
        self.scale = scale = config.input_scale

        def tally(params, x: Array) -> scan.Tally:
            model = nnx.merge(graphdef, params)
            return engine.tally(model, floats(x, scale, model))

        def trace(params, x: Array) -> scan.Trace:
            model = nnx.merge(graphdef, params)
            return engine.trace(model, floats(x, scale, model))[1]

        def membranes(params, x: Array) -> list[tuple[Array, Array]]:
            blocks = nnx.merge(graphdef, params).blocks
            thresholds = [jnp.asarray(models.value(block.threshold), block.bias[...].dtype) for block in blocks]
            return list(zip(trace(params, x).membranes, thresholds, strict=True))

        def look(params, x: Array) -> list[Moments]:
            return [metrics.moments(*layer) for layer in membranes(params, x)]

        self.tally = scan.jit(devices.spread(tally, devices.gather) if devices else tally)
        self.trace = scan.jit(trace)
        self._membranes, self._look = scan.jit(membranes), scan.jit(look)

    def hold(self, images: np.ndarray | Array) -> np.ndarray | Array:
        """The images where `present` takes them from: the device if they are there, but for those to encode."""
        return images if self._config.encoding == "direct" else np.asarray(images)

    def present(self, held: np.ndarray | Array, rows: np.ndarray, stream: tuple[int, int]) -> Array:
        """The network's input for some rows of the images: [batch, H, W, C] or [time, batch, H, W, C].

        Args:
            held: what `hold` gave.
            rows: which of them [batch].
            stream: names the batch for the rate encoding (csnn_torch draws the same spikes for it).
        """
        if isinstance(held, np.ndarray):
            return jnp.asarray(self._input(held[rows], stream, 0, len(rows)))
        return take(held, rows)

    def share(self, images: np.ndarray, batch: int, stream: tuple[int, int]) -> Array:
        """`present` for a batch that is spread over devices; `images` are those of `Devices.rows(batch)`."""
        assert self._devices is not None
        x = self._input(images, stream, self._devices.rows(batch).start, batch)
        return self._devices.put(x, batch, x.ndim - 4)

    def _input(self, images: np.ndarray, stream: tuple[int, int], first: int, batch: int) -> np.ndarray:
        """What enters the network of the rows of a batch from `first` on."""
        settings = self._config
        if settings.encoding == "direct":
            return images.swapaxes(0, 1) if images.ndim == 5 else images
        seed, within = (self._seed, *stream), (first, batch)
        return encode(images, settings.time_steps, settings.encoding, seed, settings.pixel_scale, within)

    def evaluate(self, params, split: Split, go_on: Callable[[], bool] = lambda: True) -> Evaluation | None:
        """Runs all images of a split; see `metrics.evaluate`."""
        held = self.hold(split.images)

        def tally(rows: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
            stream, batch = (1, number), len(rows)
            if self._devices is None:
                x = self.present(held, rows, stream)
            else:
                x = self.share(split.images[rows[self._devices.rows(batch)]], batch, stream)
            sums = self.tally(params, x)
            return np.asarray(predict(sums.counts))[:batch], np.asarray(sums.fired)[:batch]

        return metrics.evaluate(split, self._config, tally, go_on)

    def look(self, params, images: np.ndarray) -> dict[str, Neurons]:
        """Membranes and dead channels of every layer; see `metrics.look`."""

        def run(some: np.ndarray, number: int) -> list[Moments]:
            x = self.present(self.hold(some), np.arange(len(some)), (3, number))
            if jax.default_backend() != "cpu":  # only sums leave the device
                return jax.device_get(self._look(params, x))
            # XLA's sums take a CPU four times as long as NumPy's, and a second to compile.
            return [metrics.moments(np.asarray(m), np.asarray(theta)) for m, theta in self._membranes(params, x)]

        return metrics.look(images, self._config, run)


@jax.jit
def take(array: Array, index: np.ndarray) -> Array:
    """Rows of `array`; images that bring their own time axis [N, T, ...] become time-major [T, batch, ...]."""
    rows = array[index]
    return rows.swapaxes(0, 1) if array.ndim == 5 else rows


def floats(x: Array, scale: float, model: models.CSNN) -> Array:
    """An input in the network's type: bytes divided by `scale`, floats as they are."""
    return x.astype(model.blocks[0].bias[...].dtype) / (scale if x.dtype == jnp.uint8 else 1.0)


def as_array(images: ArrayLike, config: ModelConfig) -> np.ndarray | Array:
    """Images as an array; one of NumPy's or JAX's is given back as it is.

    Raises:
        ValueError: no numbers, or lists of different lengths; says what they are and what the network takes.
    """
    if isinstance(images, jax.core.Tracer):
        raise ValueError("images are traced, expected an array: inside of JAX's transformations run `model` instead")
    if isinstance(images, (np.ndarray, Array)):
        return images
    with contextlib.suppress(ValueError, TypeError):  # lists of different lengths
        found = np.asarray(images)
        if found.dtype.kind in "iu" and found.size and found.min() >= 0 and found.max() <= 255:
            return found.astype(np.uint8)
        if found.dtype.kind in "biuf":
            return found
    raise ValueError(f"images are of type {type(images).__name__}, expected an array {_shapes(config)}")


def check_images(images: np.ndarray | Array, config: ModelConfig) -> None:
    """Raises ValueError unless the network takes these images; says what they are and what it takes."""
    if images.ndim not in (4, 5) or images.shape[-3:] != config.input_shape or 0 in images.shape:
        raise ValueError(f"images are {list(images.shape)}, expected {_shapes(config)}")
    if config.encoding == "direct" and np.issubdtype(images.dtype, np.floating):
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 1):  # NaN too
            raise ValueError(f"images go from {low:g} to {high:g}, expected floats from 0 to 1, or uint8")
    elif images.dtype != np.uint8:
        floats = "" if config.encoding != "direct" else ", or floats from 0 to 1"
        raise ValueError(f"images are {images.dtype}, expected uint8{floats}")


def _shapes(config: ModelConfig) -> str:
    shape = ", ".join(map(str, config.input_shape))
    return f"[batch, {shape}] or [batch, time, {shape}]"
