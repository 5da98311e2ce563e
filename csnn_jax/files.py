"""Writing files so that a full disk or a crash never leaves half a file under its final name."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from csnn_jax.errors import UserError


def write_atomic(path: Path, data: bytes) -> None:
    """Writes `data` under a temporary name beside `path`, then renames it: `path` is whole, old or new.

    Raises:
        UserError: the disk is full or the folder can't be written; `path` is as it was.
    """
    _write(path, data, os.replace)


def write_new(path: Path, data: bytes) -> None:
    """`write_atomic` for a file that must not be there: of several writers at once, one succeeds.

    Raises:
        FileExistsError: it is there.
        UserError: the disk is full or the folder can't be written.
    """
    _write(path, data, _place)


def _place(temporary: str, path: Path) -> None:
    """Renames, but never over a file that is there."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with open(path, "xb") as file, open(temporary, "rb") as source:
            file.write(source.read())
    os.unlink(temporary)


def _write(path: Path, data: bytes, place: Callable[[str, Path], None]) -> None:
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        place(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise
        raise UserError(f"{path}: can't be written: {error.strerror}") from None


def append_line(path: Path, line: str) -> None:
    """Appends one line; see `append`."""
    append(path, (line + "\n").encode())


def append(path: Path, data: bytes) -> None:
    """Appends all of `data`, or nothing: what does not fit is taken back.

    Raises:
        UserError: the disk is full or the file can't be written; `path` is as it was.
    """
    try:
        with open(path, "ab", buffering=0) as file:
            size = file.tell()
            try:
                if file.write(data) != len(data):
                    raise OSError(28, os.strerror(28))  # a short write: the disk became full
            except OSError:
                file.truncate(size)
                if not size:
                    path.unlink()
                raise
    except OSError as error:
        raise UserError(f"{path}: can't be written: {error.strerror}") from None
