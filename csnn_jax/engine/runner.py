"""Whole windows of batches, jitted: what training, evaluation and a loaded network share."""

from collections.abc import Callable
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from csnn_jax.config import ModelConfig
from csnn_jax.data import Images, Split, encode, eval_batches
from csnn_jax.devices.mesh import Devices
from csnn_jax.engine import scan
from csnn_jax.network import model as models
from csnn_jax.runs import metrics
from csnn_jax.runs.metrics import Evaluation, Moments, Neurons


class BatchRunner:
    """Runs a network over batches, for the whole window, with the parameters as an argument.

    Args:
        config: the network.
        graphdef: its structure, from `nnx.split`.
        engine: one of those in csnn_jax.engine.
        seed: of the rate encoding.
        devices: that `share` and `evaluate` spread batches over; None: `evaluate` takes one, and there is no `share`.

    Attributes:
        tally: (parameters, input) -> sums over the window, `scan.SpikeCounts`.
        trace: (parameters, input) -> everything that happened, `scan.Trace`.
        fires: (parameters, input) -> which channels spike at all in the window, `scan.Seen`.
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

        def tally(params, x: Array) -> scan.SpikeCounts:
            model = nnx.merge(graphdef, params)
            return engine.tally(model, engine.entering(model, x, scale))

        def trace(params, x: Array) -> scan.Trace:
            model = nnx.merge(graphdef, params)
            return engine.trace(model, engine.entering(model, x, scale))[1]

        def fires(params, x: Array) -> scan.Seen:
            model = nnx.merge(graphdef, params)
            return engine.fires(model, engine.entering(model, x, scale))

        def membranes(params, x: Array) -> list[tuple[Array, Array]]:
            blocks = nnx.merge(graphdef, params).blocks
            thresholds = [jnp.asarray(models.value(block.threshold), block.dtype) for block in blocks]
            return list(zip(trace(params, x).membranes, thresholds, strict=True))

        def look(params, x: Array) -> list[Moments]:
            return [metrics.moments(*layer) for layer in membranes(params, x)]

        def outputs(params, x: Array) -> Array:
            model = nnx.merge(graphdef, params)
            return engine.watch(model, engine.entering(model, x, scale), config.readout)[0]

        self._outputs = scan.jit(outputs)
        self.tally = scan.jit(devices.spread(tally, devices.gather) if devices else tally)
        self.trace = scan.jit(trace)
        self.fires = scan.jit(fires)
        self._membranes, self._look = scan.jit(membranes), scan.jit(look)

    def hold(self, images: Images | Array) -> Images | Array:
        """The images where `present` takes them from: the device if they are there, but for those to encode."""
        return np.asarray(images) if isinstance(images, Array) and self._config.encoding != "direct" else images

    def present(self, held: Images | Array, rows: np.ndarray, stream: tuple[int, int]) -> Array:
        """The network's input for some rows of the images: [batch, H, W, C] or [time, batch, H, W, C].

        Args:
            held: what `hold` gave.
            rows: which of them [batch].
            stream: names the batch for the rate encoding (csnn_torch draws the same spikes for it).
        """
        if isinstance(held, Array):
            return take(held, rows)
        x = self._input(np.asarray(held[rows]), stream, 0, len(rows))
        return jax.device_put(x, may_alias=True)  # made for this batch alone

    def share(self, images: np.ndarray, batch: int, stream: tuple[int, int]) -> Array:
        """`present` for a batch that is spread over devices; `images` are those of `Devices.rows(batch)`."""
        assert self._devices is not None
        x = self._input(images, stream, self._devices.rows(batch).start, batch)
        return self._devices.put(x, batch, x.ndim - 4)

    def _input(self, images: np.ndarray, stream: tuple[int, int], first: int, batch: int) -> np.ndarray:
        """The network's input for the rows of a batch from `first` on."""
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
            return np.asarray(scan.predict(sums.scores))[:batch], np.asarray(sums.fired)[:batch]

        return metrics.evaluate(split, self._config, tally, go_on)

    def by_steps(self, params, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """What the class is read from over the whole window, and what it would be worth if the window ended earlier.

        Returns:
            Scores of every image and class [N, classes], as `Answer` has them, and the accuracy after each step [time].
        """
        labels, held = split.labels, self.hold(split.images)
        index, valid = eval_batches(len(labels), min(metrics.BATCH, len(labels)))
        scores, right = [], []
        for number, (rows, real) in enumerate(zip(index, valid, strict=True)):
            output = np.asarray(self._outputs(params, self.present(held, rows, (1, number))))[:, real]
            kind = np.int32 if self._config.readout == "spikes" else output.dtype
            so_far = output.cumsum(0, dtype=kind)
            scores.append(so_far[-1])
            right.append((so_far.argmax(-1) == labels[rows[real]]).sum(1))
        return np.concatenate(scores), np.sum(right, 0) / len(labels)

    def look(self, params, images: Images) -> dict[str, Neurons]:
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
