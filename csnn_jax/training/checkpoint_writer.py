"""Writes weights and checkpoints in a background thread during training."""

from concurrent.futures import Future, ThreadPoolExecutor

from csnn_jax.config import Config, ModelConfig
from csnn_jax.runs import checkpoints, weights
from csnn_jax.runs.checkpoints import State
from csnn_jax.runs.layouts import Tensors, on_grid
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training.loop import CheckpointDue, Evaluated, Event, Finished, Interrupted, Stepped
from csnn_jax.training.trainer import Trainer


class CheckpointWriter:
    """Writes weights and checkpoints in the background, one at a time. The context ends when all are written.

    Args:
        config: the job.
        trainer: the network being trained.
        run: destination of the files. Its checkpoints must be from iterations that this job has done.
    """

    def __init__(self, config: Config, trainer: Trainer, run: RunDir):
        self._config, self._trainer, self._run = config, trainer, run
        self._scores = run.scores()
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()
        if exception[0] is None:
            self.wait()

    def __call__(self, event: Event) -> None:
        """Saves what an event makes due.

        Raises:
            UserError: a write failed, or its weights were out of range; earlier checkpoints are intact.
        """
        match event:
            case Stepped():
                self.check()
            case Evaluated(done, kind, result):
                if kind == "validation":
                    self._scores[done] = result.accuracy
                self.keep(done)
            case CheckpointDue(done):
                self.keep(done)
            case Finished() | Interrupted():
                self.wait()

    def keep(self, done: int) -> None:
        """Copies weights and training state after `done` iterations, and starts writing them.

        Raises:
            UserError: the previous write failed, or its weights were out of range; earlier checkpoints are intact.
        """
        self.wait()
        state = None if self._kept(done) else self._trainer.snapshot()
        model, tensors = self._config.model, self._trainer.masters()
        self._writing = self._pool.submit(self._write, done, model, tensors, state)

    def keep_weights(self) -> None:
        """Writes only the weights, immediately; they aren't a checkpoint's.

        Raises:
            UserError: this write or the pending one failed.
        """
        self.wait()
        tensors = self._trainer.tensors()
        weights.check(tensors, self._config.model, "the weights before the latest update")
        weights.save(self._run.weights, tensors, self._config.model)

    def check(self) -> None:
        """Raises UserError if the latest write has failed."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
            UserError: the write failed; earlier checkpoints are intact.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _kept(self, done: int) -> bool:
        return (self._run.checkpoints / str(done) / checkpoints.STATE).is_file()

    def _write(self, done: int, model: ModelConfig, masters: Tensors, state: State | None) -> None:
        directory = self._run.checkpoints
        weights.check(masters, model, f"iteration {done}")
        self._run.sync()  # a checkpoint is useless without its records
        weights.save(self._run.weights, on_grid(model, masters), model)
        if state is not None:
            checkpoints.write(directory, done, state, weights.to_bytes(masters, model, masters=True))
        best = checkpoints.best(checkpoints.numbers(directory), self._scores)
        checkpoints.keep(directory, self._config.train.keep_checkpoints, best)
