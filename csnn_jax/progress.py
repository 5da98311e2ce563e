"""A live bar on a terminal and in Jupyter, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, track
from rich.progress import Progress as Bar

T = TypeVar("T")

LINE_EVERY = 50  # iterations between plain lines
SILENCE = 60  # seconds between lines during an evaluation
REWRITTEN = 0.2  # seconds between updates of a bar in Jupyter


class CellBar:
    """A bar in a Jupyter cell, rewritten in place.

    Not a widget like rich's: widgets need another package, and are missing from saved or printed notebooks.

    Args:
        total: iterations of the whole job.
    """

    def __init__(self, total: int):
        from IPython.display import display

        self._total, self._shown, self._state = total, 0.0, (0, "")
        self._handle = display(self._data(), raw=True, display_id=True)

    def update(self, done: int, text: str) -> None:
        """Shows the progress, unless it was just updated."""
        self._state = done, text
        if time.perf_counter() - self._shown > REWRITTEN:
            self.show()

    def show(self) -> None:
        """Shows the latest state."""
        self._handle.update(self._data(), raw=True)
        self._shown = time.perf_counter()

    def _data(self) -> dict[str, str]:
        done, text = self._state
        words = f"Training {done}/{self._total} {text}".strip()
        bar = f'<progress max="{self._total}" value="{done}" aria-label="Training"></progress>'
        return {"text/plain": words, "text/html": f"<div>{bar} {words}</div>"}


class Progress:
    """Shows iteration, loss, images per second and time left.

    Args:
        total: iterations of the whole job.
        start: iterations already done.
        batch_size: images per iteration.
    """

    def __init__(self, total: int, start: int, batch_size: int):
        self._total, self._start, self._batch_size = total, start, batch_size
        self._live, self._muted = sys.stdout.isatty(), False
        console = Console(highlight=False)
        self._cell = CellBar(total) if console.is_jupyter else None
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}, {task.fields[rate]} images/s, {task.fields[left]} left"),
            console=console,
            disable=not self._live,
        )
        self._task = self._bar.add_task("Training", total=total, completed=start, loss="-", rate="-", left="-")
        self._began = self._first = self._printed = time.perf_counter()

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
        if self._cell:
            self._cell.show()

    def mute(self) -> None:
        """Stops printing, because nobody reads the output."""
        self._muted = True

    def step(self, iteration: int, loss: float) -> None:
        """Reports that an iteration, counted from 1, is done. The time left includes evaluations, not compilation."""
        if self._muted:
            return
        now = time.perf_counter()
        done = iteration - self._start
        if done == 1:
            self._first = now
            rate, left = "-", "-"
        else:
            each = (now - self._first) / (done - 1)
            rate, left = f"{self._batch_size / each:.0f}", _clock(each * (self._total - iteration))
        self._bar.update(self._task, completed=iteration, loss=f"{loss:.4f}", rate=rate, left=left)
        if self._cell:
            self._cell.update(iteration, f"loss {loss:.4f}, {rate} images/s, {left} left")
        elif not self._live and done > 1 and iteration % LINE_EVERY == 0:
            self.line(f"Iter {iteration}, Loss: {loss:.4f}, {rate} images/s, {left} left")

    def batch(self, number: int, total: int) -> None:
        """Reports that a batch of an evaluation begins; prints a line per minute, in case it is slow."""
        now = time.perf_counter()
        if number == 0:
            self._printed = now
        elif now - self._printed > SILENCE:
            self._printed = now
            self.line(f"Evaluating: {number} of {total} batches")

    def line(self, text: str) -> None:
        """Prints a line, above the bar if there is one."""
        if self._muted:
            return
        if self._live:
            self._bar.console.print(text, soft_wrap=True)
        else:
            print(text, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def followed(items: Iterable[T], text: str, total: int) -> Iterator[T]:
    """Yields the items and shows progress: a bar on a terminal, otherwise a line at the start."""
    live = sys.stdout.isatty()
    if not live:
        print(text, flush=True)
    yield from track(items, text, total, disable=not live)
