"""Limits the time and the memory of a command that runs in this process."""

import re
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS, MEMORY = 20, 2 * 10**9


class Late(BaseException):
    """Raised in a command that takes too long. It isn't an Exception, which the command could report as an error."""


@contextmanager
def limited() -> Iterator[None]:
    """Fails if the block takes more than `SECONDS` or `MEMORY` bytes; a read that never ends is interrupted."""

    def late(*_: object) -> None:
        raise Late(f"took more than {SECONDS} s")

    before, limits = signal.signal(signal.SIGALRM, late), resource.getrlimit(resource.RLIMIT_AS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is the present size again
    start, began = _bytes("VmRSS"), time.monotonic()
    resource.setrlimit(resource.RLIMIT_AS, (_bytes("VmSize") + 4 * MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert _bytes("VmHWM") - start < MEMORY and time.monotonic() - began < SECONDS


def _bytes(field: str) -> int:
    """A size in this process's status: VmHWM (the peak), VmRSS or VmSize."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return 1024 * int(match[1])
