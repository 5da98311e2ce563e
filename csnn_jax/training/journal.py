"""The journal of a training run: lines on the terminal, records, weights and checkpoints."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from csnn_jax.config import Config
from csnn_jax.errors import UserError
from csnn_jax.health.health import HealthMonitor, by_figure
from csnn_jax.progress import Progress
from csnn_jax.runs.metrics import Evaluation, NeuronSummary, StepMetrics
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training.checkpoint_writer import CheckpointWriter
from csnn_jax.training.loop import Journal
from csnn_jax.training.trainer import Trainer

if TYPE_CHECKING:
    from csnn_jax.runs.records import Records


class RecordingJournal(Journal):
    """Prints what happens during training, line by line, and records it.

    Args:
        config: the job.
        run: destination of the records.
        total: iterations of the whole job.
        look: summarizes the network's neurons; see `Loop.look`.
        say: prints a line.
    """

    def __init__(
        self,
        config: Config,
        run: "RunDir | Records",
        total: int,
        look: Callable[[], dict[str, NeuronSummary]],
        say: Callable[[str], None],
    ):
        self._config, self._records, self._say = config, run, say
        self._monitor = HealthMonitor(config, total, run, look)
        self._began = self._settled = time.perf_counter()

    def step(self, iteration: int, metrics: StepMetrics, began: float) -> None:
        now = time.perf_counter()
        seconds, self._settled = now - max(began, self._settled), now
        layers = self._monitor.record(metrics.densities, metrics.gradients)
        rate = round(self._config.train.batch_size / seconds, 2)
        self._records.record("train", iter=iteration, loss=metrics.loss, images_per_s=rate, **layers)
        self._progressed(iteration, metrics.loss)
        self._monitor.step(iteration, metrics.loss, layers, self._say)

    def _progressed(self, iteration: int, loss: float) -> None:
        """An iteration is recorded."""

    def evaluated(self, done: int, kind: str, result: Evaluation) -> None:
        self._say(f"Iter {done}, {kind.capitalize()} Acc: {self._accuracy(result)}")
        self._record(kind, done, result)

    def finished(self, done: int, kind: str, result: Evaluation, **more: Any) -> None:
        self._say(f"Final {kind.capitalize()} Accuracy: {self._accuracy(result)}")
        held_out = {} if kind == "test" else {"split": kind}
        self._record("end", done, result, interrupted=False, **held_out, **more)

    def _record(self, kind: str, done: int, result: Evaluation, **more: Any) -> None:
        """Records an evaluation, then health events, because a resumed run drops everything from its end record on."""
        seen = self._monitor.look()
        figures = {"accuracy": result.accuracy, "density": result.densities, **by_figure(seen)}
        self._records.record(kind, iter=done, **more, **figures, seconds=self._seconds())
        self._monitor.evaluated(done, seen, self._say)

    def _accuracy(self, result: Evaluation) -> str:
        """In percent, with the number of images if `--eval-images` limits it."""
        of = "" if self._config.train.eval_images is None else f" (of {len(result.labels):,} images)"
        return f"{result.accuracy:.2%}{of}"

    def _seconds(self) -> float:
        return round(time.perf_counter() - self._began, 3)


class WritingJournal(RecordingJournal):
    """The journal of the first process: prints, records and saves.

    Args:
        config: the job.
        trainer: the network being trained.
        run: destination of the files.
        start: iterations already done.
        total: iterations of the whole job.
        look: summarizes the network's neurons; see `Loop.look`.
    """

    def __init__(
        self,
        config: Config,
        trainer: Trainer,
        run: RunDir,
        start: int,
        total: int,
        look: Callable[[], dict[str, NeuronSummary]],
    ):
        super().__init__(config, run, total, look, self._print)
        self._trainer, self._run = trainer, run
        self._writer = CheckpointWriter(config, trainer, run)
        self._progress = Progress(total, start, config.train.batch_size)
        self._muted, self._open = False, ExitStack()
        if start:
            self._monitor.resume()

    def __enter__(self) -> Self:
        self._open.enter_context(self._progress)
        self._open.enter_context(self._writer)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.__exit__(*exception)  # type: ignore[arg-type]

    def mute(self) -> None:
        self._muted = True

    def step(self, iteration: int, metrics: StepMetrics, began: float) -> None:
        self._writer.check()
        super().step(iteration, metrics, began)

    def _progressed(self, iteration: int, loss: float) -> None:
        if not self._muted:
            self._progress.step(iteration, loss)

    def batch(self, number: int, total: int) -> None:
        self._progress.batch(number, total)

    def evaluated(self, done: int, kind: str, result: Evaluation) -> None:
        super().evaluated(done, kind, result)
        if kind == "validation":
            self._writer.score(done, result.accuracy)
        self._writer.keep(done)

    def due(self, done: int) -> bool:
        return self._writer.due(done)

    def keep(self, done: int) -> None:
        self._writer.keep(done)

    def diverged(self, iteration: int) -> UserError:
        self._trainer.roll_back()
        self._writer.keep_weights()
        return UserError(
            f"iteration {iteration}: the loss or a gradient isn't finite; the weights before the latest update "
            f"are in {self._run.weights}; try a smaller --lr (now {self._config.train.lr})"
        )

    def finished(self, done: int, kind: str, result: Evaluation, **more: Any) -> None:
        self._writer.wait()
        super().finished(done, kind, result, **more)

    def interrupted(self, done: int) -> None:
        self._writer.wait()
        self._run.record("end", iter=done, interrupted=True, seconds=self._seconds())

    def _print(self, line: str) -> None:
        if not self._muted:
            self._progress.line(line)
