"""The training loop, which yields what happens. It's the same for every framework and in every process.

The metrics of an iteration are fetched after the next one has been dispatched, so a device never waits for logging.
Anything that needs the current network (an evaluation, a checkpoint, the end) fetches all of them first.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import NamedTuple

from csnn_jax import data
from csnn_jax.config import TrainConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.metrics import BATCH, Evaluation, NeuronSummary, StepMetrics
from csnn_jax.training.feed import Feed
from csnn_jax.training.trainer import Job


class Stepped(NamedTuple):
    """An iteration, numbered from 1, is done.

    Attributes:
        iteration, metrics: its number and its metrics.
        began: when it was dispatched (`time.perf_counter`).
        dispatched_s: seconds until that returned; on a CPU, it computes meanwhile.
    """

    iteration: int
    metrics: StepMetrics
    began: float
    dispatched_s: float = 0.0


class Evaluated(NamedTuple):
    """The network was evaluated after `done` iterations, on the "test" or "validation" images."""

    done: int
    kind: str
    result: Evaluation


class CheckpointDue(NamedTuple):
    """Weights and training state are those after `done` iterations and should be saved."""

    done: int


class Finished(NamedTuple):
    """Training is finished, with this result on the "test" images, or "validation" images if there are none."""

    done: int
    kind: str
    result: Evaluation


class Interrupted(NamedTuple):
    """Training stopped after `done` iterations and can be resumed."""

    done: int


Event = Stepped | Evaluated | CheckpointDue | Finished | Interrupted


class Diverged(UserError):
    """The loss or a gradient isn't finite."""

    def __init__(self, iteration: int, more: str = ""):
        super().__init__(f"iteration {iteration}: the loss or a gradient isn't finite{more}")
        self.iteration = iteration


class Loop:
    """Runs training: iterations, evaluations in between, and the final evaluation.

    Args:
        job: the job.
        go_on: called before each iteration and each batch of an evaluation; False interrupts training.
        on_batch: called with the number of a batch and of all batches when a batch of an evaluation starts.
    """

    def __init__(
        self,
        job: Job,
        go_on: Callable[[], bool] = lambda: True,
        on_batch: Callable[[int, int], object] = lambda number, total: None,
    ):
        self._config, self._dataset, self._trainer, self._rates = job.config, job.dataset, job.trainer, job.rates
        self._go_on, self._on_batch = go_on, on_batch
        self._dispatched: deque[Stepped] = deque()

    def events(self, start: int, unevaluated: bool = True) -> Generator[Event, None, None]:
        """Trains from iteration `start` to the end or an interrupt, and yields what happens.

        Args:
            start: number of iterations already done.
            unevaluated: whether to start with the evaluation after `start` iterations, if one is due.

        Raises:
            Diverged: the loss is no longer finite.
        """
        done, every = start, self._config.train.checkpoint_every
        with closing(Feed(self._config, self._dataset.train, self._trainer.rows).batches(start)) as batches:
            if unevaluated and self._evaluates(start):
                yield from self._evaluated(start)
            for batch in batches:
                if not self._go_on():
                    break
                began = time.perf_counter()
                metrics = self._trainer.step(batch, float(self._rates[batch.iteration]))
                dispatched_s = time.perf_counter() - began
                self._dispatched.append(Stepped(batch.iteration + 1, metrics, began, dispatched_s))
                done = batch.iteration + 1
                yield from self._settled(in_flight=1)
                if self._evaluates(done):
                    yield from self._settled()
                    yield from self._evaluated(done)
                elif every and done % every == 0:
                    yield from self._settled()
                    yield CheckpointDue(done)
            yield from self._settled()
        yield CheckpointDue(done)
        result = self._measured(self._dataset.test) if done == len(self._rates) else None
        yield Interrupted(done) if result is None else Finished(done, self._dataset.final, result)

    def summarize_neurons(self) -> dict[str, NeuronSummary]:
        """The network's neurons after the iteration that is being reported, while the next one may be dispatched."""
        # A step after a non-finite loss changes nothing, so there is no newer state to step back from.
        ahead = any(step.metrics.fetched().finite for step in self._dispatched)
        return self._trainer.summarize_neurons(self._dataset.train.images, before=ahead)

    def _settled(self, in_flight: int = 0) -> Iterator[Event]:
        """Fetches the metrics of the dispatched iterations; `in_flight` may remain."""
        while len(self._dispatched) > in_flight:
            step = self._dispatched.popleft()
            values = step.metrics.fetched()
            if not values.finite:
                raise Diverged(step.iteration)
            yield step._replace(metrics=values)

    def _evaluates(self, done: int) -> bool:
        """Whether to evaluate after `done` iterations; not on the test images right before the final evaluation."""
        last = done == len(self._rates) and self._dataset.validation is None
        return evaluates(self._config.train, done) and not last

    def _evaluated(self, done: int) -> Iterator[Event]:
        """Measures accuracy on the held-out images, or on the test images if there are none, unless interrupted."""
        kind, split = watched_split(self._dataset)
        if (result := self._measured(split)) is not None:
            yield Evaluated(done, kind, result)

    def _measured(self, split: data.Split) -> Evaluation | None:
        """Evaluates a split; returns None if interrupted."""
        total, numbers = -(-len(split.labels) // BATCH), itertools.count()

        def go_on() -> bool:
            self._on_batch(next(numbers), total)
            return self._go_on()

        return self._trainer.evaluate(split, go_on)


def watched_split(dataset: data.Dataset) -> tuple[str, data.Split]:
    """The images of evaluations during training (held-out images if there are any, else test images) and their name."""
    return ("test", dataset.test) if dataset.validation is None else ("validation", dataset.validation)


def evaluates(config: TrainConfig, done: int) -> bool:
    """Whether an evaluation is due after `done` iterations; with given weights, always before the first iteration."""
    has_weights = done == 0 and config.init_from is not None
    return has_weights or (config.eval_every > 0 and done % config.eval_every == 0)
