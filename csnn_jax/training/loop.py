"""The training loop, which defines the order of everything. It's the same for every framework and in every process.

The metrics of an iteration are fetched after the next one has been dispatched, so a device never waits for logging.
Anything that needs the current network (an evaluation, a checkpoint, the end) fetches all of them first.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import Self

import numpy as np

from csnn_jax import data
from csnn_jax.config import Config, TrainConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.metrics import BATCH, Evaluation, NeuronSummary, StepMetrics
from csnn_jax.training.feed import Feed
from csnn_jax.training.trainer import Trainer


class Journal:
    """Receives everything that happens in a training run; a context manager.

    This base class writes nothing and is for processes other than process 0. `journal.WritingJournal` prints, records
    and saves.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def mute(self) -> None:
        """Stops printing, because nobody reads the output."""

    def step(self, iteration: int, metrics: StepMetrics, began: float) -> None:
        """An iteration, numbered from 1, is done; it was dispatched at `began` (`time.perf_counter`)."""

    def batch(self, number: int, total: int) -> None:
        """A batch of an evaluation starts."""

    def evaluated(self, done: int, kind: str, result: Evaluation) -> None:
        """The network was evaluated after `done` iterations, on the "test" or "validation" images."""

    def due(self, done: int) -> bool:
        """Whether a checkpoint is due after `done` iterations, in addition to those at evaluations."""
        return False

    def keep(self, done: int) -> None:
        """Weights and training state are up to date after `done` iterations."""

    def diverged(self, iteration: int) -> UserError:
        """The loss or a gradient wasn't finite; saves the last good weights and returns an error with their path."""
        return UserError(f"iteration {iteration}: the loss or a gradient isn't finite")

    def finished(self, done: int, kind: str, result: Evaluation) -> None:
        """Training is finished, with this result on the "test" images, or "validation" images if there are none."""

    def interrupted(self, done: int) -> None:
        """Training stops here and can be resumed."""


class Loop:
    """Runs training: iterations, evaluations in between, and the final evaluation.

    Args:
        config: the job.
        dataset: its images.
        trainer: the network being trained.
        rates: learning rate of every iteration.
        go_on: called before each iteration and each batch of an evaluation; False interrupts training.
    """

    def __init__(
        self,
        config: Config,
        dataset: data.Dataset,
        trainer: Trainer,
        rates: np.ndarray,
        go_on: Callable[[], bool],
    ):
        self._config, self._dataset, self._trainer = config, dataset, trainer
        self._rates, self._go_on = rates, go_on
        self._dispatched: deque[tuple[int, float, StepMetrics]] = deque()

    def run(self, start: int, journal: Journal, owed: bool = True) -> int:
        """Trains from iteration `start` to the end or an interrupt; returns the number of iterations done.

        Args:
            start: number of iterations already done.
            journal: receives everything that happens.
            owed: whether to start with the evaluation after `start` iterations, if one is due.

        Raises:
            UserError: the loss is no longer finite, or a file can't be written.
        """
        done = start
        batches = Feed(self._config, self._dataset.train, self._trainer.rows).batches(start)
        with closing(batches), journal:
            try:
                if owed and self._evaluates(start):
                    self._evaluate(start, journal)
                for batch in batches:
                    if not self._go_on():
                        break
                    began = time.perf_counter()
                    metrics = self._trainer.step(batch, float(self._rates[batch.iteration]))
                    self._dispatched.append((batch.iteration, began, metrics))
                    done = batch.iteration + 1  # before printing: the saved state is this one's
                    self._settle(journal, in_flight=1)
                    if self._evaluates(done):
                        self._settle(journal)
                        self._evaluate(done, journal)
                    elif journal.due(done):
                        self._settle(journal)
                        journal.keep(done)
                self._settle(journal)
            except BrokenPipeError:  # nobody reads the output; see flags.run_command
                journal.mute()
                self._settle(journal)
                journal.keep(done)
                raise
            journal.keep(done)
            finished = done == len(self._rates) and self._finish(done, journal)
            if not finished:
                journal.interrupted(done)
        return done

    def look(self) -> dict[str, NeuronSummary]:
        """The network's neurons after the iteration that is being reported, while the next one may be dispatched."""
        ahead = any(metrics.fetched().finite for _, _, metrics in self._dispatched)  # otherwise it changed nothing
        return self._trainer.look(self._dataset.train.images, before=ahead)

    def _settle(self, journal: Journal, in_flight: int = 0) -> None:
        """Fetches the metrics of the dispatched iterations and hands them to the journal; `in_flight` may remain."""
        while len(self._dispatched) > in_flight:
            iteration, began, metrics = self._dispatched.popleft()
            values = metrics.fetched()
            if not values.finite:
                raise journal.diverged(iteration + 1)
            journal.step(iteration + 1, values, began)

    def _evaluates(self, done: int) -> bool:
        """Whether to evaluate after `done` iterations; not on the test images right before the final evaluation."""
        last = done == len(self._rates) and self._dataset.validation is None
        return evaluates(self._config.train, done) and not last

    def _evaluate(self, done: int, journal: Journal) -> None:
        """Measures accuracy on the held-out images, or on the test images if there are none."""
        kind, split = watched_split(self._dataset)
        result = self._measure(split, journal)
        if result is not None:
            journal.evaluated(done, kind, result)

    def _finish(self, done: int, journal: Journal) -> bool:
        """The final evaluation, on the test images if there are any; returns False if interrupted."""
        result = self._measure(self._dataset.test, journal)
        if result is None:
            return False
        journal.finished(done, self._dataset.final, result)
        return True

    def _measure(self, split: data.Split, journal: Journal) -> Evaluation | None:
        """Evaluates a split and reports progress; returns None if interrupted."""
        total, numbers = -(-len(split.labels) // BATCH), itertools.count()

        def go_on() -> bool:
            journal.batch(next(numbers), total)
            return self._go_on()

        return self._trainer.evaluate(split, go_on)


def watched_split(dataset: data.Dataset) -> tuple[str, data.Split]:
    """The images of evaluations during training (held-out images if there are any, else test images) and their name."""
    return ("test", dataset.test) if dataset.validation is None else ("validation", dataset.validation)


def evaluates(config: TrainConfig, done: int) -> bool:
    """Whether an evaluation is due after `done` iterations; with given weights, always before the first iteration."""
    given = done == 0 and config.init_from is not None
    return given or (config.eval_every > 0 and done % config.eval_every == 0)
