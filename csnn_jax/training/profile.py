"""`--profile N`: a profiler trace of some iterations of a job, in its run directory. The profiler is a framework's."""

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Protocol

from csnn_jax.errors import UserError, first_line
from csnn_jax.training.feed import Batch


class Tracer(Protocol):
    """A framework's profiler."""

    def window(self, folder: Path, first: int) -> AbstractContextManager:
        """Traces while the block runs, then writes into `folder`; `first` is the first iteration in it."""
        ...

    def step(self, iteration: int) -> AbstractContextManager:
        """Marks what the block does as that iteration, in the trace."""
        ...


class Profile:
    """Traces iterations of one call of the command, from its second on: in the first, the step is compiled.

    Args:
        count: how many.
        tracer: the framework's profiler.
        folder: where the trace goes.
    """

    def __init__(self, count: int, tracer: Tracer, folder: Path):
        self.count, self.tracer, self.folder = count, tracer, folder

    def traced(self, batches: Generator[Batch, None, None]) -> Generator[Batch, None, None]:
        """The same batches. What is done between one of those that count and the next is traced.

        Raises:
            UserError: the trace can't be written.
        """
        with closing(batches):
            yield from islice(batches, 1)
            yield from self._traced(islice(batches, self.count))
            yield from batches

    def _traced(self, batches: islice) -> Generator[Batch, None, None]:
        iterations: list[int] = []
        window = ExitStack()
        try:
            for batch in batches:
                if not iterations:
                    window.enter_context(self.tracer.window(self.folder, batch[0]))
                iterations.append(batch[0])
                with self.tracer.step(batch[0]):
                    yield batch
        finally:
            self._close(window)
        if iterations:
            print(f"Profile: iterations {iterations[0]} to {iterations[-1]} are in {self.folder}", flush=True)

    def _close(self, window: ExitStack) -> None:
        """Writes the trace."""
        try:
            window.close()
        except (OSError, RuntimeError) as error:
            raise UserError(f"{self.folder}: the trace can't be written: {first_line(error)}") from None


def check_profile(count: int | None, total: int) -> None:
    """Raises UserError where a job of `total` iterations has fewer than `count` after its first."""
    if count is not None and count >= total:
        what = f"the job has {total} iterations, and its first is left out"
        raise UserError(f"--profile {count}: {what}; expected at most {total - 1}")
