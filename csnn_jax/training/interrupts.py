"""Signals that end a training: it is asked to stop, and keeps what it has learnt."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in dir(signal)]  # Windows: no HUP


@contextmanager
def collected() -> Iterator[list[int]]:
    """Collects Ctrl-C, SIGTERM and a lost terminal in the list it gives; a second Ctrl-C interrupts at once.

    Elsewhere than in the main thread, which alone gets signals, the list stays empty.
    """
    caught: list[int] = []

    def note(number: int, frame: object) -> None:
        if caught and number == signal.SIGINT:
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
