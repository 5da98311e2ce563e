"""A signal while something is made, renamed or opened for writing, by commands in this process."""

import builtins
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from csnn_jax.flags import run_command

lost_files = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""For a file that was opened when the signal came: it has no name yet, and its destructor closes it."""

_CALLS = ("mkdir", "rename", "replace", "link", "unlink", "rmdir")


@contextmanager
def _struck(at: int, number: signal.Signals) -> Iterator[list[str]]:
    """The call `at`, from 0, of those that change what a folder holds is followed by a signal before it returns.

    So it is where the system was busy with the call when the signal came. Gives the calls so far.
    """
    seen: list[str] = []

    def after(name: str, call: Callable) -> Callable:
        def wrapped(*arguments, **options):
            found = call(*arguments, **options)
            mode = options.get("mode") or (arguments[1:] or ["r"])[0]
            if name != "open" or set("wxa") & set(str(mode)):
                seen.append(name)
                if len(seen) == at + 1:
                    os.kill(os.getpid(), number)
            return found

        return wrapped

    places = [*((os, name) for name in _CALLS), (builtins, "open"), (io, "open")]
    before = [getattr(*place) for place in places]
    for (module, name), call in zip(places, before, strict=True):
        setattr(module, name, after(name, call))
    try:
        yield seen
    finally:
        for (module, name), call in zip(places, before, strict=True):
            setattr(module, name, call)


def interrupted_everywhere(
    number: signal.Signals, prepare: Callable[[], None], act: Callable[[], object]
) -> Iterator[str]:
    """Runs a command again and again, and interrupts it in each of its calls, one after the other.

    Args:
        number: the signal.
        prepare: is called before each time.
        act: what the command does.

    Yields:
        The call in which it was interrupted, once the command has ended.
    """
    for at in range(1000):
        prepare()
        calls, code = _interrupted(at, number, act)
        if len(calls) <= at:
            assert code == 0
            return
        assert code == 128 + number
        yield calls[at]


def _interrupted(at: int, number: signal.Signals, act: Callable[[], object]) -> tuple[list[str], object]:
    """The calls of a command that is interrupted in one of them, and its exit code."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    with _struck(at, number) as calls:

        def command() -> int:
            act()
            if len(calls) > at:
                time.sleep(20)  # for a signal that waits
            return 0

        try:
            return calls, run_command(command)
        except SystemExit as end:
            return calls, end.code
        finally:
            signal.signal(signal.SIGINT, before)
