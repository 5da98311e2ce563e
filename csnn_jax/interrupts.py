"""Signals that end a command: the first one lets training save its state; a second Ctrl-C ends it at once."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, TypeVar

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in dir(signal)]  # Windows: no HUP

_UNBROKEN: set[CodeType] = set()

F = TypeVar("F", bound=Callable[..., Any])


def unbroken(function: F) -> F:
    """Marks a short function that signals can't cut off in a command: the exception is raised after it returns."""
    _UNBROKEN.add(function.__code__)
    return function


class CommandInterrupt:
    """Ctrl-C in a command's own process: KeyboardInterrupt first, then an immediate end, even if threads are busy.

    Threads that write a checkpoint wait for one another, and the interpreter waits for them; files are written under
    temporary names, so nothing is lost by not waiting.
    """

    def __init__(self) -> None:
        self._asked = self._postponed = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._asked and not self._postponed:
            leave()
        self._asked, self._postponed = True, False
        if _must_not_raise(frame):
            self._postponed = True
            _again(number)
        else:
            raise KeyboardInterrupt


def interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C in a caller's process: Python's default, except where code must not be cut off."""
    if _must_not_raise(frame):
        _again(number)
    else:
        raise KeyboardInterrupt


def terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM: ends a command as an exception would, with exit code 128 + its number."""
    if _must_not_raise(frame):
        _again(number)
    else:
        sys.exit(128 + number)


def _must_not_raise(frame: FrameType | None) -> bool:
    """Whether an exception would do harm here.

    Python discards exceptions raised during garbage collection, where JAX has a callback. Libraries may crash if their
    import is cut off. And `unbroken` functions must finish.
    """
    while frame is not None:
        code = frame.f_code
        if code in _UNBROKEN or code.co_name == "_xla_gc_callback" or code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _again(number: int) -> None:
    """Sends the signal to this process again, a little later."""
    timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def leave() -> None:
    """Ends the process at once, with the exit code of Ctrl-C."""
    sys.stderr.write("interrupted\n")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(128 + signal.SIGINT)


@contextmanager
def collected() -> Iterator[list[int]]:
    """Collects Ctrl-C, SIGTERM and SIGHUP in the list it yields; a second Ctrl-C interrupts at once.

    Outside the main thread, which gets all signals, the list stays empty.
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
