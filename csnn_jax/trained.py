"""A trained network: it classifies images and shows what its neurons do.

    model = csnn_jax.load("runs/2026-11-25_12-00-00")
    answer = model.classify(images)

Nothing here changes settings of the caller's process (JAX's types, its cache, the allocator).
"""

import contextlib
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax import Array
from numpy.typing import ArrayLike

from csnn_jax import engine as engines
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.data import Images, Split, check_labels, eval_batches, is_recorded
from csnn_jax.engine import scan
from csnn_jax.engine.runner import BatchRunner
from csnn_jax.network import model as models
from csnn_jax.network.checks import check_floats
from csnn_jax.network.model import CSNN
from csnn_jax.runs import metrics, rundir, weights
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.metrics import Evaluation, Neurons
from csnn_jax.streaming import Stream


class Answer(NamedTuple):
    """The classes that a network gives for some images, and what they are read from.

    Attributes:
        classes: the class with the highest score, the lowest on ties: int [batch].
        scores: of every class [batch, classes]: its output spikes over the window, int; or where the network's readout
            is the membrane, the sum of its output membranes, float.
    """

    classes: np.ndarray
    scores: np.ndarray


class Trained:
    """A trained network, ready to classify images and to show what its neurons do.

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
        self._runners: dict[ModuleType, BatchRunner] = {}

    def classify(self, images: ArrayLike) -> Answer:
        """Runs the window and reads the classes; works in batches of 128.

        Args:
            images: an array, or lists that NumPy makes one of: [batch, H, W, C], or [batch, T, H, W, C] where they have
                a time axis of their own, whose length need not be the network's time_steps. uint8, of which
                `config.model.pixel_scale` (mostly 255) means 1.0, or floats from 0 to 1. uint8 where the network's
                encoding is rate or latency. Whole numbers in lists, from 0 to 255, are taken as uint8.

        Raises:
            ValueError: images of another shape or type, or none. Or they are traced: inside of `jax.jit`, `jax.vmap`
                and the like the functions of csnn_jax.engine run `model`.
            UserError: engine "event" was asked for, and the images have a time axis and other numbers than counts up
                to 15.
        """
        images = as_array(images, self.config.model)
        runner = self._for(images)
        held = runner.hold(images)
        index, valid = eval_batches(len(images), min(metrics.BATCH, len(images)))
        scores = [
            runner.tally(self._params, runner.present(held, rows, (1, number))).scores[: real.sum()]
            for number, (rows, real) in enumerate(zip(index, valid, strict=True))
        ]
        found = np.concatenate([np.asarray(s) for s in scores])
        if self.config.model.readout == "spikes":
            found = found.astype(np.int64)
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
        runner = self._for(images)
        found = runner.trace(self._params, runner.present(runner.hold(images), np.arange(len(images)), (2, 0)))
        return jax.tree.map(np.asarray, found)

    def stream(self, batch: int | None = None) -> Stream:
        """Runs the network on frames as they come, with its state inside; see `Stream`.

            stream = model.stream()
            for frame in camera:
                spikes, scores = stream(frame)

        After the last frame of a window the scores are those of `classify`, up to spikes whose membrane lies within
        rounding of the threshold. A stream does not stop at `time_steps`: `reset` begins a new window.

        Args:
            batch: how many streams run side by side; None: one, without a batch axis.
        """
        return Stream(self.model, batch)

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

    def by_steps(self, split: Split) -> np.ndarray:
        """The accuracy over a split if the window ended after each of its steps [time]; errors as `evaluate`'s."""
        check_images(split.images, self.config.model)
        check_labels(split, self.config.model.num_classes)
        return self._for(split.images).by_steps(self._params, split)[1]

    def fires(self, images: ArrayLike) -> tuple[np.ndarray, ...]:
        """Tells which channels spike at all in the window of each image; runs all images at once.

        Args:
            images: as `classify` takes them.

        Returns:
            A bool array [batch, channels] for each layer; of a linear layer every neuron is a channel.

        Raises:
            ValueError, UserError: as `classify`.
        """
        images = as_array(images, self.config.model)
        runner = self._for(images)
        found = runner.fires(self._params, runner.present(runner.hold(images), np.arange(len(images)), (1, 0)))
        return tuple(np.asarray(layer) for layer in found)

    def look(self, images: Any) -> dict[str, Neurons]:
        """Membranes and dead channels of every layer on some of the images, which `classify` takes."""
        found = images if hasattr(images, "shape") else as_array(images, self.config.model)
        return self._for(found).look(self._params, found)

    def _for(self, images: Images | Array) -> BatchRunner:
        """The functions that run such images, checked first."""
        check_images(images, self.config.model)
        if images.ndim == 4 and is_recorded(self.config.data.dataset):
            shape = ", ".join(map(str, images.shape))
            raise ValueError(f"images are [{shape}], expected [batch, time, height, width, 2]: recordings' frames")
        engine, _ = engines.choose(self._engine, self.model, images)
        if engine not in self._runners:
            self._runners[engine] = BatchRunner(self.config.model, self._graphdef, engine, self.config.train.seed)
        return self._runners[engine]


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


def save(model: CSNN, config: Config | ModelConfig, path: str | Path, overwrite: bool = False) -> None:
    """Makes a run directory of a network that was trained in a loop of your own.

    `csnn_jax.load`, evaluate, predict, report, csnn_torch.compare, export and `train --init-from` take it.

    Args:
        model: the network.
        config: the job that it was trained in, or its ModelConfig alone; evaluate and export then use MNIST where they
            are not told otherwise.
        path: the directory to make.
        overwrite: replace the run that it holds.

    Raises:
        ValueError: no network, or a config that is none or another network's.
        UserError: values that are not finite, or the directory can't be made.
    """
    if not isinstance(model, CSNN):
        raise ValueError(f"model is of type {type(model).__name__}, expected a CSNN")
    if not isinstance(config, Config | ModelConfig):
        raise ValueError(f"config is of type {type(config).__name__}, expected a Config or a ModelConfig")
    job = decided(config if isinstance(config, Config) else Config(config, train=TrainConfig(init="torch")))
    if decided(Config(model.config)).model != job.model:
        raise ValueError("config is another network's, expected the one that the model was made with")
    tensors = models.tensors(model)
    weights.check(tensors, job.model, "model")
    run = rundir.create(str(path), job, overwrite)
    weights.save(run.weights, tensors, job.model)
    run.record("end", iter=0, interrupted=False, accuracy=None)


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


def check_images(images: Images | Array, config: ModelConfig) -> None:
    """Raises ValueError unless the network takes these images; says what they are and what it takes."""
    if images.ndim not in (4, 5) or images.shape[-3:] != config.input_shape or 0 in images.shape:
        raise ValueError(f"images are {list(images.shape)}, expected {_shapes(config)}")
    if config.encoding == "direct" and np.issubdtype(images.dtype, np.floating):
        check_floats(np.asarray(images), config, "images go")
    elif images.dtype != np.uint8:
        floats = "" if config.encoding != "direct" else ", or floats from 0 to 1"
        raise ValueError(f"images are {images.dtype}, expected uint8{floats}")


def _shapes(config: ModelConfig) -> str:
    shape = ", ".join(map(str, config.input_shape))
    return f"[batch, {shape}] or [batch, time, {shape}]"
