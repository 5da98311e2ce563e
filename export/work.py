"""The bar of a command that makes or proves a bundle: one for all that it does, from its first second on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


class Work:
    """Shows on a terminal how much of the work is done, and what is being done; elsewhere it shows nothing.

    Lines that are printed meanwhile appear above the bar.

    Args:
        title: what the command does, in a word.
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
        """Tells how many tasks there are; until then the bar only moves."""
        self._bar.update(self._task, total=tasks)

    @contextmanager
    def task(self, now: str, images: int = 0) -> Iterator[None]:
        """One task.

        Args:
            now: what is done, for the reader.
            images: about how many images it looks at, see `saw`.
        """
        self._seen, self._expected = 0, images
        self._bar.update(self._task, now=now)
        yield
        self._done += 1
        self._bar.update(self._task, completed=self._done)

    def saw(self, images: int) -> None:
        """Tells that the task is done with some more of its images."""
        self._seen += images
        share = min(self._seen / self._expected, 1) if self._expected else 0
        self._bar.update(self._task, completed=self._done + share)
