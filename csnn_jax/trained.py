"""A trained network that classifies images and shows what its neurons do.

Nothing here changes the process's global settings (JAX's types, its cache, the allocator).
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, overload

import jax
import numpy as np
from flax import nnx
from jax import Array

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, decided
from csnn_jax.data import Images, Split, eval_batches, is_recorded
from csnn_jax.data.images import for_network
from csnn_jax.errors import naming_arguments
from csnn_jax.network import model as models
from csnn_jax.network.model import CSNN
from csnn_jax.runner import BatchRunner, Runners, Stream
from csnn_jax.runs import layouts, metrics, rundir, weights
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.margins import margins
from csnn_jax.runs.metrics import Evaluation, NeuronSummary
from csnn_jax.window import ByNode, SpikeCounts, Trace


class Answer(NamedTuple):
    """Predicted classes, and the scores that they come from.

    Attributes:
        classes: the class with the highest score; ties go to the lowest class: int [batch].
        scores: score of each class [batch, classes]: int, number of output spikes over the window, or float, sum of the
            output membranes if the network's readout is the membrane.
        known: whether the highest score is far enough ahead for an answer: bool [batch]; None if the run has no margin
            for these weights and windows, see `csnn_jax.evaluate --unknown`.
    """

    classes: np.ndarray
    scores: np.ndarray
    known: np.ndarray | None


class Trained:
    """A trained network that classifies images and shows what its neurons do.

    Args:
        config: its training job.
        tensors: its parameters with torch's names and layouts, see `runs.weights`.
        engine: "scan", "event", or "auto": event if it supports the network, otherwise scan.
        records: the records of its training, as in `metrics.jsonl` of a run, for `save`.

    Attributes:
        config, records: as given.
        digest: SHA-256 of the tensors.
        model: the CSNN, for `step`, gradients, or the functions of csnn_jax.engine. Its dtype is the job's; float64
            needs jax_enable_x64 and becomes float32 without it.

    Raises:
        ValueError: config isn't a Config.
        UserError: the tensors don't match the network, or engine "event" can't run it; the message says why.

    Examples:
        >>> import csnn_jax
        >>> from csnn_jax import data
        >>> test = data.load("mnist", (28, 28, 1)).test
        >>> model = csnn_jax.load("runs/first")
        >>> answer = model.classify(test.images[:5])
        >>> answer.classes.shape, answer.scores.shape
        ((5,), (5, 10))
    """

    def __init__(self, config: Config, tensors: Tensors, engine: str = "auto", records: Iterable[dict[str, Any]] = ()):
        if not isinstance(config, Config):
            raise ValueError(f"config is of type {type(config).__name__}, expected a Config")
        weights.check(tensors, config.model, "tensors")
        self.config, self.records, self.digest = config, tuple(records), layouts.digest(tensors)
        self.model = models.from_tensors(config.model, tensors, jax.dtypes.canonicalize_dtype(config.train.dtype))
        self._runners = Runners(self.model, engine, config.train.seed)
        self._params = nnx.split(self.model)[1]

    def __repr__(self) -> str:
        model = self.config.model
        stack = ", ".join(f"{node.name.rstrip('0123456789')}{node.channels}" for node in model.graph.weighted)
        shape, name = "x".join(map(str, model.input_shape)), self._runners.of().engine.__name__.rpartition(".")[2]
        return f"Trained({shape}, {stack}; {model.time_steps} steps; {self.config.data.dataset}; {name} engine)"

    def classify(self, images: Any) -> Answer:
        """Classifies images, in batches of 128.

        Args:
            images: a NumPy or JAX array, a torch tensor, or lists: [N, H, W, C], or [N, T, H, W, C] with a time axis,
                whose length may differ from the network's time_steps. They are booleans or integers up to 255, which
                are divided by `config.model.pixels.scale` (usually 256), or floats from 0 to 1 unless the network's
                encoding is rate or latency. Floats that are multiples of 1/255 become bytes, others are rounded to
                multiples of 1 / `pixels.scale`. A network that was trained on floats divides bytes by 255.

        Raises:
            ValueError: the images have the wrong shape or type, or there are none. Or they are traced by `jax.jit`,
                `jax.vmap` or similar; there, run `model` with the functions of csnn_jax.engine.
            UserError: engine "event" was requested, and the images have a time axis and values other than counts up to
                15.
        """
        runner, images = self._ready(images)
        scores, margin = self._count(runner, images).scores, self.margin_for(self.window_of(images))
        return Answer(scores.argmax(1), scores, None if margin is None else margins(scores) >= margin)

    def count(self, images: Any) -> SpikeCounts:
        """The class scores as in `classify`, and how often each layer spiked: int [N, layers].

        Args:
            images: as in `classify`.

        Raises:
            ValueError, UserError: as in `classify`.
        """
        return self._count(*self._ready(images))

    def _count(self, runner: BatchRunner, images: Images | Array) -> SpikeCounts:
        held = runner.hold(images)
        index, valid = eval_batches(len(images), min(metrics.BATCH, len(images)))
        sums = [
            [np.asarray(one)[: real.sum()] for one in runner.count(self._params, runner.present(held, rows, (1, i)))]
            for i, (rows, real) in enumerate(zip(index, valid, strict=True))
        ]
        scores, fired = map(np.concatenate, zip(*sums, strict=True))
        kind = np.int64 if self.config.model.readout == "spikes" else scores.dtype
        return SpikeCounts(scores.astype(kind), fired.astype(np.int64))

    def window_of(self, images: Any) -> int:
        """The number of steps in the window of images.

        Args:
            images: [N, H, W, C] or [N, T, H, W, C].
        """
        return images.shape[1] if images.ndim == 5 else self.config.model.time_steps

    def margin_for(self, time_steps: int) -> float | None:
        """The smallest difference of the two highest scores for an answer, see `csnn_jax.evaluate --unknown`.

        Args:
            time_steps: steps of the window.

        Returns:
            None if it wasn't measured for these weights and this window.
        """
        return self.config.unknown.margin_for(self.digest, time_steps)

    def trace(self, images: Any) -> Trace:
        """Runs the window and keeps every layer's membranes and spikes, all in memory at once.

        Args:
            images: as in `classify`.

        Returns:
            NumPy arrays by the name of their neurons, `lif1`, `lif2`, ...: `membranes` and `spikes`, each
                [time, batch, *shape]; `states` has all states, by name.

        Raises:
            ValueError, UserError: as in `classify`.
            KeyError: a name of the result is another; the message lists the names.
        """
        runner, images = self._ready(images)
        trace = runner.trace(self._params, runner.present(runner.hold(images), np.arange(len(images)), (2, 0)))
        return Trace(ByNode(trace.states), ByNode(trace.spikes))

    def stream(self, batch: int | None = None) -> Stream:
        """Returns a `Stream`, which runs the network on frames as they arrive and keeps its state.

            stream = model.stream()
            for frame in camera:
                spikes, scores = stream(frame)

        After the last frame of a window, the scores equal those of `classify`. A stream doesn't stop at `time_steps`;
        `reset` starts a new window.

        Args:
            batch: number of parallel streams; None: one, without a batch axis.
        """
        return Stream(self.model, batch)

    def evaluate(self, split: Split | tuple[Any, Any]) -> Evaluation:
        """Accuracy, confusion and spike densities over a split of a data set (`csnn_jax.data.load`).

        Args:
            split: a `Split`, or images and their labels, as in `classify` and `Split`.

        Raises:
            ValueError: the split is invalid or has no images, labels are outside the network's classes, or the images
                are invalid for `classify`.
        """
        checked = self._split(split)
        runner, images = self._ready(checked.images)
        result = runner.evaluate(self._params, replace(checked, images=images))
        assert result is not None
        return result

    def by_steps(self, split: Split | tuple[Any, Any]) -> np.ndarray:
        """The accuracy over a split if the window ended after each of its steps [time].

        Args:
            split: images and labels, see `evaluate`.
        """
        checked = self._split(split)
        runner, images = self._ready(checked.images)
        return runner.by_steps(self._params, replace(checked, images=images))[1]

    def _split(self, split: Split | tuple[Any, Any]) -> Split:
        """Checks images and labels that the network is to be evaluated on."""
        model = self.config.model
        checked = data.as_split(split, "split", model.input_shape, one=model.pixels.brightest)
        data.check_labels(checked, model.num_classes)
        return checked

    def ever_fired(self, images: Any) -> tuple[np.ndarray, ...]:
        """Returns which channels ever spike in the window of each image; runs all images at once.

        Args:
            images: as in `classify`.

        Returns:
            A bool array [batch, channels] for each layer; each neuron of a linear layer is a channel.

        Raises:
            ValueError, UserError: as in `classify`.
        """
        runner, images = self._ready(images)
        fired = runner.ever_fired(self._params, runner.present(runner.hold(images), np.arange(len(images)), (1, 0)))
        return tuple(np.asarray(layer) for layer in fired)

    def summarize_neurons(self, images: Any) -> dict[str, NeuronSummary]:
        """Membranes and dead channels of every layer on some of the images.

        Args:
            images: as in `classify`, or a split as in `evaluate`.

        Raises:
            ValueError, UserError: as in `classify`.
        """
        if isinstance(images, Split) or (isinstance(images, tuple) and len(images) == 2):
            images = self._split(images).images
        runner, images = self._ready(images)
        return runner.summarize_neurons(self._params, images)

    def _ready(self, images: Any) -> tuple[BatchRunner, Images | Array]:
        """Checks a caller's images; returns the runner for them, and the images in the network's units."""
        if isinstance(images, jax.core.Tracer):
            raise ValueError("images are traced, expected an array: inside JAX's transformations, run `model` instead")
        images = for_network(images, self.config.model, on_device=Array)
        if images.ndim == 4 and is_recorded(self.config.data.dataset):
            shape = ", ".join(map(str, images.shape))
            raise ValueError(f"images are [{shape}], expected [N, T, H, W, 2], the frames of recordings")
        return self._runners.of(images), images


def load(run: str | Path, engine: str = "auto", checkpoint: str | int | None = None) -> Trained:
    """Loads the network in a run directory.

    Args:
        run: the directory, made by `csnn_jax.train`, `csnn_torch.train` or `csnn_torch.convert`.
        engine: "scan", "event" or "auto", see `Trained`.
        checkpoint: the checkpoint whose weights to load: "best", "last", or a number of iterations; None: the run's
            weights.

    Raises:
        ValueError: run isn't a path.
        UserError: there is no run, it has no weights yet, the checkpoint doesn't exist, the files don't match, or the
            engine can't run the network.

    Examples:
        >>> import csnn_jax
        >>> model = csnn_jax.load("runs/first", engine="scan")
        >>> model.config.data.dataset
        'mnist'
    """
    if not isinstance(run, str | Path):
        raise ValueError(f"run is of type {type(run).__name__}, expected the path of a run directory")
    _, config, tensors = rundir.open_run(str(run), checkpoint)
    return Trained(config, tensors, engine)


@overload
def save(trained: Trained, path: str | Path, /, *, overwrite: bool = False) -> None: ...
@overload
def save(model: CSNN, config: Config | ModelConfig, path: str | Path, /, *, overwrite: bool = False) -> None: ...
@naming_arguments(out="path")
def save(network: Any, *where: Any, overwrite: bool = False) -> None:
    """Saves a network as a run directory: `save(trained, path)`, or `save(model, config, path)` from your own loop.

    `csnn_jax.load`, evaluate, predict, report, csnn_torch.compare, export and `train --init-from` accept it. A run has
    no data. For a network that was trained on arrays, pass the data to the commands with `--dataset arrays:FILE.npz`.

    Args:
        network: a result of `csnn_jax.fit` or `load`, or the CSNN of your loop.
        where: the directory to create. For a CSNN, first its training job, whose data set becomes the run's, or only
            its ModelConfig if it was trained on arrays; then the directory.
        overwrite: whether to replace an existing run.

    Raises:
        ValueError: the network is invalid, or the config is invalid or doesn't match the network.
        UserError: parameters aren't finite, or the directory can't be created.

    Examples:
        >>> import csnn_jax
        >>> config = csnn_jax.ModelConfig(conv_channels=(4,), hidden=(8,), time_steps=5)
        >>> csnn_jax.save(csnn_jax.CSNN(config), config, "runs/own")
        >>> csnn_jax.load("runs/own", engine="scan")
        Trained(28x28x1, conv4, fc8, fc10; 5 steps; arrays; scan engine)
    """
    *configs, path = where or (None,)
    if isinstance(network, Trained):
        model, job, records = network.model, network.config, network.records
        if configs:
            raise ValueError("config is given, expected none, because a Trained has its own")
    else:
        model, job, records = network, _job(network, configs[0] if configs else None), ()
    if not isinstance(path, str | Path):
        raise ValueError(f"path is of type {type(path).__name__}, expected the path of a directory")
    weights.check(models.tensors(model), job.model, "model")
    tensors = layouts.on_grid(job.model, models.tensors(model))
    run = rundir.create(str(path), job, overwrite)
    with rundir.removed_if_failed(run):
        weights.save(run.weights, tensors, job.model)
    for record in records or ({"kind": "end", "iter": 0, "interrupted": False, "accuracy": None},):
        run.record(**record)


def _job(model: Any, config: Any) -> Config:
    """The job of a network that was trained in the caller's own loop."""
    if not isinstance(model, CSNN):
        raise ValueError(f"model is of type {type(model).__name__}, expected a Trained, or a CSNN and its config")
    if not isinstance(config, Config | ModelConfig):
        raise ValueError(f"config is of type {type(config).__name__}, expected a Config or a ModelConfig")
    arrays = DataConfig(data.ARRAYS)
    job = decided(config if isinstance(config, Config) else Config(config, arrays, TrainConfig(init="torch")))
    if decided(Config(model.config)).model != job.model:
        raise ValueError("config doesn't match the network, expected the one that the model was made with")
    return job
