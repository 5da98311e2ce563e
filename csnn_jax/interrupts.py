"""Signals that end a command: the first one asks, and what was learnt is kept; a second Ctrl-C is obeyed at once."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in dir(signal)]  # Windows: no HUP


class CommandInterrupt:
    """Ctrl-C in a process that is a command: KeyboardInterrupt at first, then the end, whoever may still be busy.

    Threads that write a checkpoint wait for one another, and the interpreter waits for them; files are written under
    temporary names, so nothing is lost by not waiting.
    """

    def __init__(self) -> None:
        self._asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            leave()
        self._asked = True
        raise KeyboardInterrupt


def leave() -> None:
    """Ends the process at once, with the exit code of Ctrl-C."""
    sys.stderr.write("interrupted\n")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(128 + signal.SIGINT)


@contextmanager
def collected() -> Iterator[list[int]]:
    """Collects Ctrl-C, SIGTERM and a lost terminal in the list it gives; a second Ctrl-C interrupts at once.

    Elsewhere than in the main thread, which alone gets signals, the list stays empty.
    """
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if caught and number == signal.SIGINT:
            if isinstance(before[number], CommandInterrupt):
                leave()
            raise KeyboardInterrupt
        caught.append(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
