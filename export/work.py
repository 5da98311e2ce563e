"""The progress bar of a command that makes or verifies a bundle: a single bar for everything, shown from the start."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


class Work:
    """Shows the progress and the current task on a terminal; elsewhere, it shows nothing.

    Lines printed in the meantime appear above the bar.

    Args:
        title: what the command does, in one word.
    """

    def __init__(self, title: str):
        columns = (
            TextColumn(title),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
        )
        self._bar = Progress(*columns, disable=not sys.stdout.isatty(), transient=True)
        self._task = self._bar.add_task(title, total=None, now="loading packages and data")
        self._done = self._seen = self._expected = 0

    def __enter__(self) -> "Work":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def plan(self, tasks: int) -> None:
        """Sets the number of tasks to come; until then, the bar only pulses."""
        self._bar.update(self._task, total=self._done + tasks)

    @contextmanager
    def task(self, now: str, images: int = 0) -> Iterator[None]:
        """One task.

        Args:
            now: its description.
            images: approximate number of images that it processes, see `saw`.
        """
        self._seen, self._expected = 0, images
        self._bar.update(self._task, now=now)
        yield
        self._done += 1
        self._bar.update(self._task, completed=self._done)

    def saw(self, images: int) -> None:
        """Adds to the number of images that the current task has processed."""
        self._seen += images
        share = min(self._seen / self._expected, 1) if self._expected else 0
        self._bar.update(self._task, completed=self._done + share)
