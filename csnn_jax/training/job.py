"""A training job from flags to a run directory, the same for every framework.

The framework is behind `Learner`; what is printed, recorded, plotted and kept on an interrupt is decided here.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from csnn_jax import data, interrupts, progress
from csnn_jax.config import Config, TrainConfig
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags
from csnn_jax.runs import plots, rundir, weights
from csnn_jax.runs.metrics import BATCH, Evaluation
from csnn_jax.runs.rundir import RunDir

PICTURES = ("accuracy.png", "spikes.png")
"""What `_Job.plots` makes."""


class Learner(Protocol):
    """A network being trained."""

    def describe(self) -> str:
        """Framework, engine and device, for the log."""
        ...

    def step(self, iteration: int, index: np.ndarray) -> tuple[float, bool]:
        """One update on the training images `index` [batch]: (loss, whether loss and gradients were finite).

        Where they were not, nothing is changed.
        """
        ...

    def roll_back(self) -> None:
        """Takes the latest update back."""
        ...

    def evaluate(self, split: data.Split, go_on: Callable[[], bool]) -> Evaluation | None:
        """Runs all images of a split, asking before each batch whether to go on; None if not."""
        ...

    def trace(self, images: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Membranes and spikes of every layer for images uint8 [batch, H, W, C], each [time, batch, *shape]."""
        ...

    def tensors(self) -> weights.Tensors:
        """The parameters in torch's names and layouts."""
        ...

    def save(self, directory: Path, iteration: int) -> None:
        """Writes the training state after `iteration` iterations."""
        ...

    def restore(self, directory: Path) -> int:
        """Reads the training state: the iterations done."""
        ...


def train(flags: TrainFlags, make_learner: Callable[[Config, data.Split], Learner]) -> int:
    """Runs the job. Returns the exit code: 0, or 128 + the signal that interrupted it (130 for Ctrl-C).

    Raises:
        UserError: bad flags or files, a full disk, or a loss that is no longer finite.
    """
    if flags.show:
        plots.require_window()
    dataset = data.load(flags.config.data.dataset, flags.config.model.input_shape, flags.config.data.validation)
    config = replace(flags.config, model=data.fit_model(flags.config.model, dataset))
    data.epoch_batches(config.train.seed, 0, len(dataset.train.labels), config.train.batch_size)  # checks the size
    learner = make_learner(config, dataset.train)  # before the directory: it may refuse the configuration
    if flags.resume:
        run = RunDir(Path(flags.out or ""))
        _check_same_job(run, config, dataset)
    else:
        run = rundir.create(flags.out, config, flags.overwrite)
    with run.claimed(), interrupts.collected() as caught:
        start = resumed(run, config, learner, dataset) if flags.resume else 0
        _introduce(dataset, config, learner, run, start)
        job = _Job(config, dataset, learner, run, lambda: not caught)
        ended = start if run.finished and start == job.total else job.run(start)
        job.plots()
    if caught:
        print(f"Interrupted after {ended} iterations; weights and metrics are in {run.path}", flush=True)
        return 128 + caught[0]
    if flags.show:
        plots.show(run)
    return 0


def resumed(run: RunDir, config: Config, learner: Learner, dataset: data.Dataset) -> int:
    """Makes a run ready to go on; the iterations that it has done.

    A finished run may get more iterations, or the pictures that it was killed before.

    Args:
        run: as it was left.
        config: the job; as the run was started but for `--epochs` and `--max-iters`.
        learner: takes over the training state.
        dataset: its images.

    Raises:
        UserError: nothing is left to do, or fewer iterations are asked for than were done. The run is as it was.
    """
    start, total = learner.restore(run.checkpoints), iterations(config.train, len(dataset.train.labels))
    if start > total:
        limited = config.train.max_iters == total
        flag = f"--max-iters {total}" if limited else f"--epochs {config.train.epochs}"
        raise UserError(f"{flag}: {run.path} has done {start} iterations already; expected at least as many")
    if start < total or not run.finished:
        rundir.write_config(run, config)
        run.truncate_records(start)
    elif all((run.path / name).exists() for name in PICTURES):
        raise UserError(f"--resume: {run.path} is finished; expected more iterations, by --epochs or --max-iters")
    return start


def _check_same_job(run: RunDir, config: Config, dataset: data.Dataset) -> None:
    before = run.config()
    before = replace(before, model=data.fit_model(before.model, dataset))  # 0.1.0 kept no steps of the data's own
    for part, values in asdict(config).items():
        for name, now in values.items():
            then = getattr(getattr(before, part), name)
            if now != then and name not in ("epochs", "max_iters"):
                flag = "--" + name.replace("_", "-")
                raise UserError(
                    f"{flag}: {run.path} was started with {then}, not {now}; --resume can only change --epochs and "
                    "--max-iters"
                )


def batches(config: TrainConfig, images: int, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """The iterations of a job from `start` to its end: (iteration, indices of its training images [batch]).

    Args:
        config: epochs, batch size, seed and the most iterations.
        images: number of training images.
        start: iterations done before.
    """
    per_epoch = images // config.batch_size
    for iteration in range(start, iterations(config, images)):
        epoch, row = divmod(iteration, per_epoch)
        if row == 0 or iteration == start:
            index = data.epoch_batches(config.seed, epoch, images, config.batch_size)
        yield iteration, index[row]


def iterations(config: TrainConfig, images: int) -> int:
    """Iterations of a whole job."""
    whole = config.epochs * (images // config.batch_size)
    return min(whole, config.max_iters or whole)


class _Job:
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
        self.total = iterations(config.train, len(dataset.train.labels))
        self.began = time.perf_counter()

    def run(self, start: int) -> int:
        """Trains from iteration `start` to the end or to an interrupt; returns the iterations done."""
        settings, images, done = self.config.train, len(self.dataset.train.labels), start
        with progress.Progress(self.total, start, settings.batch_size) as shown:
            try:
                for iteration, index in batches(settings, images, start):
                    if not self.go_on():
                        break
                    loss = self._step(iteration, index)
                    done = iteration + 1  # before anything is printed: the state that is kept is this one's
                    shown.step(iteration, loss)
                    if settings.eval_every and iteration % settings.eval_every == 0:
                        self._evaluate(iteration, shown)
            except BrokenPipeError:  # nobody reads what is printed; see flags.run_command
                self._keep(done)
                raise
            self._keep(done)
            finished = done == self.total and self._finish(done, shown)
        if not finished:
            self.run_dir.record("end", iter=done, interrupted=True, seconds=self._seconds())
        return done

    def _step(self, iteration: int, index: np.ndarray) -> float:
        """One update; returns the loss."""
        settings = self.config.train
        began = time.perf_counter()
        loss, finite = self.learner.step(iteration, index)
        if not finite:
            self.learner.roll_back()
            self._keep(iteration, state=False)
            raise UserError(
                f"iteration {iteration}: the loss or a gradient is not finite; the weights before the latest update "
                f"are in {self.run_dir.weights}; try a smaller --lr (now {settings.lr})"
            )
        rate = settings.batch_size / (time.perf_counter() - began)
        self.run_dir.record("train", iter=iteration, loss=loss, images_per_s=round(rate, 2))
        return loss

    def _evaluate(self, iteration: int, shown: progress.Progress) -> None:
        """Measures accuracy on the held-out images, or without any on the test images, and keeps the weights."""
        kind, split = ("test", self.dataset.test)
        if self.dataset.validation is not None:
            kind, split = ("validation", self.dataset.validation)
        result = self._measure(split, shown)
        if result is None:
            return
        shown.line(f"Iter {iteration}, {kind.capitalize()} Acc: {result.accuracy:.2%}")
        self.run_dir.record(
            kind, iter=iteration, accuracy=result.accuracy, density=result.densities, seconds=self._seconds()
        )
        self._keep(iteration + 1)

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
        shown.line(f"Final Test Accuracy: {result.accuracy:.2%}")
        self.run_dir.record(
            "end",
            iter=done,
            interrupted=False,
            accuracy=result.accuracy,
            density=result.densities,
            seconds=self._seconds(),
        )
        return True

    def _keep(self, done: int, state: bool = True) -> None:
        """Writes the weights and, so that the run can be resumed, the training state."""
        weights.save(self.run_dir.weights, self.learner.tensors(), self.config.model)
        if state:
            self.learner.save(self.run_dir.checkpoints, done)

    def plots(self) -> None:
        """Makes the run's pictures."""
        plots.accuracy(self.run_dir)
        image, label = self.dataset.test.images[:1], int(self.dataset.test.labels[0])
        membranes, spikes = self.learner.trace(image)
        plots.spikes(
            self.run_dir,
            image[0],
            label,
            [m[:, 0] for m in membranes],
            [s[:, 0] for s in spikes],
            self.config.model.thresholds,
        )

    def _seconds(self) -> float:
        return round(time.perf_counter() - self.began, 3)


def _introduce(dataset: data.Dataset, config: Config, learner: Learner, run: RunDir, start: int) -> None:
    held_out = f", {len(dataset.validation.labels)} held out" if dataset.validation else ""
    print(
        f"Data: {dataset.name}, {len(dataset.train.labels)} training{held_out} and {len(dataset.test.labels)} test "
        f"images, {config.model.num_classes} classes"
    )
    for note in dataset.notes:
        print(f"Data: {note}")
    if dataset.frames:
        print(f"Data: {dataset.frames} frames an example, one at each time step")
    if config.model.pixel_scale != dataset.scale:
        print(f"Data: pixel values are divided by {config.model.pixel_scale:g}, not {dataset.scale:g}")
    print(f"Runs on: {learner.describe()}")
    print(f"Run directory: {run.path}" + (f", resumed after {start} iterations" if start else ""), flush=True)
