"""The training loop, the same for every framework: what is printed, recorded and kept."""

import itertools
import time
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple, Protocol

import numpy as np

from csnn_jax import data, progress
from csnn_jax.config import Config, TrainConfig
from csnn_jax.errors import UserError
from csnn_jax.figures import accuracy, spikes, style
from csnn_jax.flags import Figures
from csnn_jax.health.health import Watch
from csnn_jax.initial.start import Start
from csnn_jax.runs import weights
from csnn_jax.runs.metrics import BATCH, Evaluation, Neurons
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training import feed, plan
from csnn_jax.training.checkpoint import State
from csnn_jax.training.keeper import Keeper


class Step(NamedTuple):
    """What one update tells.

    Attributes:
        loss: before the update.
        finite: whether loss and gradients were finite.
        densities: share of neurons that spike at a step, by layer [layers].
        gradients: Euclidean norm of the gradient of each layer's kernel [layers].
    """

    loss: float
    finite: bool
    densities: np.ndarray
    gradients: np.ndarray


class Learner(Protocol):
    """A network being trained.

    Attributes:
        start: the weights that it started from.
    """

    start: Start

    def describe(self) -> str:
        """Framework, engine and device, for the log."""
        ...

    def rows(self, batch: int) -> slice:
        """The rows of a batch that this process needs the images of."""
        ...

    def step(self, iteration: int, index: np.ndarray, rate: float, images: np.ndarray | None = None) -> Step:
        """One update on the training images `index` [batch] at a learning rate. Not finite: nothing is changed.

        `images`, uint8 [rows, H, W, C] or [rows, T, H, W, C], take the place of those at `index`, of which they are
        the `rows`; labels stay.
        """
        ...

    def roll_back(self) -> None:
        """Takes the latest update back."""
        ...

    def evaluate(self, split: data.Split, go_on: Callable[[], bool]) -> Evaluation | None:
        """Runs all images of a split, asking before each batch whether to go on; None if not."""
        ...

    def look(self, images: np.ndarray) -> dict[str, Neurons]:
        """Membranes and dead channels of every layer on some of the images; see `metrics.look`."""
        ...

    def trace(self, images: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Membranes and spikes of every layer for images uint8 [batch, H, W, C], each [time, batch, *shape]."""
        ...

    def tensors(self) -> weights.Tensors:
        """The parameters in torch's names and layouts."""
        ...

    def snapshot(self) -> State:
        """The training state by name: copies on the host, which later steps do not change."""
        ...

    def restore(self, state: State) -> None:
        """Takes a training state over, with the names, shapes and types of `snapshot`."""
        ...


def sample(config: Config, dataset: data.Dataset, learner: Learner) -> spikes.Sample:
    """The first test image, and what the network makes of it now."""
    image, label = dataset.test.images[:1], int(dataset.test.labels[0])
    membranes, fired = (list(layer[:, 0] for layer in layers) for layers in learner.trace(image))
    return spikes.Sample(image[0], label, membranes, fired, config.model.thresholds)


def pictures(figures: Figures) -> tuple[str, ...]:
    """Names of the pictures that a finished run has."""
    return (*style.files("accuracy", figures), *style.files("spikes", figures))


def watched_split(dataset: data.Dataset) -> tuple[str, data.Split]:
    """The images of evaluations on the way, and their name: the held-out ones, or without any the test images."""
    return ("test", dataset.test) if dataset.validation is None else ("validation", dataset.validation)


def evaluates(config: TrainConfig, iteration: int) -> bool:
    """Whether an iteration is followed by an evaluation."""
    return config.eval_every > 0 and iteration % config.eval_every == 0


class Loop:
    """What happens at each iteration, and what is kept of it.

    Args:
        config: the job.
        dataset: its images.
        learner: the network being trained.
        run: where its files go.
        go_on: asked before each iteration and each batch of an evaluation; False interrupts.
    """

    def __init__(self, config: Config, dataset: data.Dataset, learner: Learner, run: RunDir, go_on: Callable[[], bool]):
        self.config, self.dataset, self.learner = config, dataset, learner
        self.run_dir, self.go_on = run, go_on
        self.total = plan.iterations(config.train, len(dataset.train.labels))
        self.rates = plan.learning_rates(config.train, self.total)
        self.watch = Watch(config, self.total, run, lambda: learner.look(dataset.train.images))
        self.keeper = Keeper(config, learner, run)
        self.began = time.perf_counter()

    def run(self, start: int, owed: bool = False) -> int:
        """Trains from iteration `start` to the end or to an interrupt; returns the iterations done.

        `job.follow` is its double in other processes. `owed`: begin with the evaluation after iteration `start - 1`.
        """
        settings, done = self.config.train, start
        if start:
            self.watch.resume()
        batches = feed.batches(self.config, self.dataset.train.images, start, self.learner.rows)
        with progress.Progress(self.total, start, settings.batch_size) as shown, closing(batches), self.keeper:
            try:
                if owed:
                    self._evaluate(start - 1, shown)
                for iteration, index, images in batches:
                    if not self.go_on():
                        break
                    loss, layers = self._step(iteration, index, images)
                    done = iteration + 1  # before anything is printed: the state that is kept is this one's
                    shown.step(iteration, loss)
                    self.watch.step(iteration, loss, layers, shown.line)
                    if evaluates(settings, iteration):
                        self._evaluate(iteration, shown)
                    elif self.keeper.due(done):
                        self.keeper.keep(done)
            except BrokenPipeError:  # nobody reads what is printed; see flags.run_command
                self.keeper.keep(done)
                raise
            self.keeper.keep(done)
            self.keeper.wait()
            finished = done == self.total and self._finish(done, shown)
        if not finished:
            self.run_dir.record("end", iter=done, interrupted=True, seconds=self._seconds())
        return done

    def _step(
        self, iteration: int, index: np.ndarray, images: np.ndarray | None
    ) -> tuple[float, dict[str, dict[str, float]]]:
        """One update; returns the loss, and the layers' densities and gradients."""
        settings = self.config.train
        self.keeper.check()
        began = time.perf_counter()
        step = self.learner.step(iteration, index, float(self.rates[iteration]), images)
        if not step.finite:
            self.learner.roll_back()
            self.keeper.keep_weights()
            raise UserError(
                f"iteration {iteration}: the loss or a gradient is not finite; the weights before the latest update "
                f"are in {self.run_dir.weights}; try a smaller --lr (now {settings.lr})"
            )
        rate = settings.batch_size / (time.perf_counter() - began)
        layers = self.watch.record(step.densities, step.gradients)
        self.run_dir.record("train", iter=iteration, loss=step.loss, images_per_s=round(rate, 2), **layers)
        return step.loss, layers

    def _evaluate(self, iteration: int, shown: progress.Progress) -> None:
        """Measures accuracy on the held-out images, or without any on the test images, and keeps the weights."""
        kind, split = watched_split(self.dataset)
        result = self._measure(split, shown)
        if result is None:
            return
        shown.line(f"Iter {iteration}, {kind.capitalize()} Acc: {result.accuracy:.2%}{self._of(split)}")
        seen = self.watch.evaluated(iteration, shown.line)
        self.run_dir.record(
            kind, iter=iteration, accuracy=result.accuracy, density=result.densities, **seen, seconds=self._seconds()
        )
        if kind == "validation":
            self.keeper.score(iteration + 1, result.accuracy)
        self.keeper.keep(iteration + 1)

    def _of(self, split: data.Split) -> str:
        """On how many images, where `--eval-images` says so."""
        return "" if self.config.train.eval_images is None else f" (of {len(split.labels):,} images)"

    def _measure(self, split: data.Split, shown: progress.Progress) -> Evaluation | None:
        """Runs a split, with a word now and then; None if it was interrupted."""
        total, numbers = -(-len(split.labels) // BATCH), itertools.count()

        def go_on() -> bool:
            shown.batch(next(numbers), total)
            return self.go_on()

        return self.learner.evaluate(split, go_on)

    def _finish(self, done: int, shown: progress.Progress) -> bool:
        """The last word on the test set; False if it was interrupted."""
        result = self._measure(self.dataset.test, shown)
        if result is None:
            return False
        shown.line(f"Final Test Accuracy: {result.accuracy:.2%}{self._of(self.dataset.test)}")
        self.run_dir.record(
            "end",
            iter=done,
            interrupted=False,
            accuracy=result.accuracy,
            density=result.densities,
            **self.watch.evaluated(done, shown.line),
            seconds=self._seconds(),
        )
        return True

    def draw(self, figures: Figures) -> None:
        """Writes the run's pictures, those of `pictures`."""
        style.save(accuracy.draw(self.run_dir), self.run_dir.path, "accuracy", figures)
        seen = sample(self.config, self.dataset, self.learner)
        style.save(spikes.draw(seen), self.run_dir.path, "spikes", figures)

    def _seconds(self) -> float:
        return round(time.perf_counter() - self.began, 3)
