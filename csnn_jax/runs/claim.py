"""The lock on a run directory, which keeps other trainings out. It ends with the process (where there is `flock`)."""

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HOLDER = "trained_by.json"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keeps other trainings out of a run while the block runs (where the system has `flock`).

    Raises:
        UserError: another process trains it; names it.
    """
    holder = folder / HOLDER
    with _locked(folder):
        with suppress(UserError):  # the lock holds without it
            write_atomic(holder, json.dumps({"process": os.getpid(), "host": platform.node()}).encode())
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)


def check_free(folder: Path) -> None:
    """Raises UserError where another process trains the run; names it."""
    with _locked(folder, shared=True):
        pass


@contextmanager
def _locked(folder: Path, shared: bool = False) -> Iterator[None]:
    """The lock. A shared one only asks whether another process has it."""
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
    """Names the process that trains the run, as far as it is known."""
    try:
        holder = json.loads((folder / HOLDER).read_text())
        return f"another process ({holder['process']} on {holder['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _lock(folder: int, kind: int) -> bool:
    """Locks an open folder, unless another process has."""
    for _ in range(5):
        try:
            fcntl.flock(folder, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:  # who only asks holds it for a moment
            time.sleep(0.05)
        except OSError:  # a file system without locks
            return True
    return False
