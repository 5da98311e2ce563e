"""The lock that keeps other training processes out of a run directory. It ends with the process (needs `flock`)."""

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from csnn_jax import reading
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HOLDER = "trained_by.json"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keeps other training processes out of a run during the block (if the system has `flock`).

    Raises:
        UserError: another process is training the run; the message names it.
    """
    holder = folder / HOLDER
    with _locked(folder):
        with suppress(UserError):  # the lock works without it
            write_atomic(holder, json.dumps({"process": os.getpid(), "host": platform.node()}).encode())
        try:
            yield
        finally:
            with suppress(OSError):  # a read-only folder has none
                holder.unlink()


def check_free(folder: Path) -> None:
    """Raises UserError, naming the process, if another one is training the run."""
    with _locked(folder, shared=True):
        pass


@contextmanager
def _locked(folder: Path, shared: bool = False) -> Iterator[None]:
    """Takes the lock. A shared lock only checks whether another process holds it."""
    if fcntl is None:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        if not _lock(opened, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            raise UserError(f"--out {folder}: {_holder(folder)} is training this run; expected another path")
        yield
    finally:
        os.close(opened)


def _holder(folder: Path) -> str:
    """Names the process that is training the run, if it's known."""
    try:
        holder = json.loads(reading.read(folder / HOLDER, "a process", 2**12))
        return f"another process ({holder['process']} on {holder['host']})"
    except (UserError, ValueError, KeyError, TypeError):
        return "another process"


def _lock(folder: int, kind: int) -> bool:
    """Locks an open folder; returns whether it succeeded."""
    for _ in range(5):
        try:
            fcntl.flock(folder, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:  # a check holds the lock for a moment
            time.sleep(0.05)
        except OSError:  # a file system without locks
            return True
    return False
