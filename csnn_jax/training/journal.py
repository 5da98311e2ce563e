"""What happens during training as lines of the log and records."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from csnn_jax.health.health import HealthMonitor, by_figure
from csnn_jax.runs.metrics import Evaluation, NeuronSummary, Records
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training.loop import Evaluated, Event, Finished, Interrupted, Stepped
from csnn_jax.training.trainer import Job


class Journal:
    """Prints and records events.

    Args:
        job: the job.
        records: destination of the records.
        neurons: summarizes the network's neurons; see `Loop.summarize_neurons`.
        say: prints a line.
        on_step: called with the number of an iteration, from 1, and its loss, after it was recorded.
        at_end: more values for the last record.
    """

    def __init__(
        self,
        job: Job,
        records: RunDir | Records,
        neurons: Callable[[], dict[str, NeuronSummary]],
        say: Callable[[str], object],
        on_step: Callable[[int, float], object] = lambda iteration, loss: None,
        at_end: Mapping[str, Any] = {},
    ):
        self._train, self._records, self._at_end = job.config.train, records, at_end
        self._say, self._on_step = say, on_step
        self.health = HealthMonitor(job.config, len(job.rates), records, neurons, say)
        self._began = self._settled = time.perf_counter()

    def __call__(self, event: Event) -> None:
        """Prints and records an event.

        Raises:
            UserError: a record can't be written.
        """
        match event:
            case Stepped():
                self._stepped(event)
            case Evaluated(done, kind, result):
                self._say(f"Iter {done}, {kind.capitalize()} Acc: {self._accuracy(result)}")
                self._record(kind, done, result)
            case Finished(done, kind, result):
                self._say(f"Final {kind.capitalize()} Accuracy: {self._accuracy(result)}")
                held_out = {} if kind == "test" else {"split": kind}
                self._record("end", done, result, interrupted=False, **held_out, **self._at_end)
            case Interrupted(done):
                self._records.record("end", iter=done, interrupted=True, seconds=self._seconds())

    def _stepped(self, event: Stepped) -> None:
        iteration, metrics, began, dispatched_s = event
        now = time.perf_counter()
        seconds, self._settled = max(dispatched_s, now - max(began, self._settled)), now
        layers = self.health.record(metrics.densities, metrics.gradients)
        rate = round(self._train.batch_size / seconds, 2)
        self._records.record("train", iter=iteration, loss=metrics.loss, images_per_s=rate, **layers)
        self._on_step(iteration, metrics.loss)
        self.health.step(iteration, metrics.loss, layers)

    def _record(self, kind: str, done: int, result: Evaluation, **more: Any) -> None:
        """Records an evaluation, then health events, because a resumed run drops everything from its end record on."""
        neurons = self.health.neurons()
        figures = {"accuracy": result.accuracy, "density": result.densities, **by_figure(neurons)}
        self._records.record(kind, iter=done, **more, **figures, seconds=self._seconds())
        self.health.evaluated(done, neurons)

    def _accuracy(self, result: Evaluation) -> str:
        """In percent, with the number of images if `--eval-images` limits it."""
        of = "" if self._train.eval_images is None else f" (of {len(result.labels):,} images)"
        return f"{result.accuracy:.2%}{of}"

    def _seconds(self) -> float:
        return round(time.perf_counter() - self._began, 3)
