"""How commands end: exit codes, one-line errors, Ctrl-C and closed pipes."""

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from csnn_jax.errors import UserError, first_line, naming_flags, one_line
from csnn_jax.interrupts import CommandInterrupt, interrupt, leave, terminate

_NO_MEMORY = ("RESOURCE_EXHAUSTED", "can't allocate memory")
"""What JAX's and torch's errors say, which are RuntimeErrors."""


def run_command(command: Callable[[], int], arguments: Sequence[str] | None = ()) -> int:
    """Runs a command: a user's mistake prints one line on stderr and exits with code 2; Ctrl-C exits with 130.

    A path that is too long for the system counts as a mistake wherever it is used.

    SIGTERM ends the command like an exception, with exit code 143, so half-made folders are removed. The exit code is
    141, as a shell reports for other programs, if its output is closed early (`| head`).

    Args:
        command: returns the exit code.
        arguments: `main`'s. None: the process is this command, and Ctrl-C ends it without waiting for threads.
    """
    alone = arguments is None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may have characters that an ASCII terminal doesn't
            stream.reconfigure(errors="backslashreplace")
    with _handlers(alone), naming_flags():
        try:
            code = command()
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still flushes on exit
            return 141
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not any(words in str(error) for words in _NO_MEMORY):
                raise
            print(f"error: not enough memory: {one_line(first_line(error), 200)}", file=sys.stderr)
            return 2
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            print(f"error: {one_line(str(error.filename))}: expected a shorter path", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            if alone:
                leave()
            print("interrupted", file=sys.stderr)
            return 130


@contextmanager
def _handlers(alone: bool) -> Iterator[None]:
    """Handles SIGTERM and, in the command's own process, Ctrl-C; restores the caller's handlers at the end."""
    handlers: dict[int, Callable] = {signal.SIGTERM: terminate}
    if alone:
        handlers[signal.SIGINT] = CommandInterrupt()
    elif signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handlers[signal.SIGINT] = interrupt
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
