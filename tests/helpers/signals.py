"""Interrupts commands in this process while they create, rename or open something for writing."""

import builtins
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from csnn_jax.command import run_command

lost_files = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Ignores the warning for a file opened when the signal came: it has no name yet, and its destructor closes it."""

_CALLS = ("mkdir", "rename", "replace", "link", "unlink", "rmdir")


@contextmanager
def _struck(at: int, number: signal.Signals) -> Iterator[list[str]]:
    """Sends a signal after call number `at`, from 0, of those that change a folder, before the call returns.

    This is as if the system had been busy with the call when the signal came. Yields the calls so far.
    """
    seen: list[str] = []

    def after(name: str, call: Callable) -> Callable:
        def wrapped(*arguments, **options):
            returned = call(*arguments, **options)
            mode = options.get("mode") or (arguments[1:] or ["r"])[0]
            if name != "open" or set("wxa") & set(str(mode)):
                seen.append(name)
                if len(seen) == at + 1:
                    os.kill(os.getpid(), number)
            return returned

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
    """Runs a command repeatedly and interrupts it in each of its calls, one after another.

    Args:
        number: the signal.
        prepare: called before each run.
        act: the command.

    Yields:
        The interrupted call, once the command has ended.
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
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    with _struck(at, number) as calls:

        def command() -> int:
            act()
            if len(calls) > at:
                time.sleep(20)  # in case the signal is delayed
            return 0

        try:
            return calls, run_command(command)
        except SystemExit as end:
            return calls, end.code
        finally:
            signal.signal(signal.SIGINT, before)
