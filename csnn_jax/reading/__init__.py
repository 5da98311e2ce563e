"""Opens files that may come from anyone: regular files only, and none larger than what it should hold.

Every reader uses this module. Opening a named pipe or reading a device could take forever, and a sparse file of a few
bytes on disk can have any size.
"""

import errno
import os
import stat
import sys
from io import BufferedReader
from pathlib import Path

from csnn_jax.errors import UserError
from csnn_jax.machine import available_memory

PROTOBUF = 2**31
"""Maximum size of an ONNX file or tensor in bytes, as of any message of protobuf."""

_FLAGS = os.O_RDONLY if sys.platform == "win32" else os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = 0 if sys.platform == "win32" else os.O_DIRECTORY
_NO_LINK = 0 if sys.platform == "win32" else os.O_NOFOLLOW
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def opened(path: str | Path, expected: str, most: int | None = None, inside: Path | None = None) -> BufferedReader:
    """Opens a regular file, or a link to one, without waiting.

    Args:
        path: the file.
        expected: what it should be, for errors, such as "a NumPy archive".
        most: its maximum size in bytes; None: what can be read into half of the available memory.
        inside: a folder from someone else that contains it, such as a bundle; links inside it are refused, because they
            could lead to any of the reader's files.

    Returns:
        The file, open for reading bytes.

    Raises:
        UserError: it's missing, can't be read, isn't a regular file or is too large.
    """
    try:
        descriptor = _descriptor(Path(path), inside)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, expected {expected}") from None
    except (OSError, ValueError) as error:
        linked = inside is not None and isinstance(error, OSError) and error.errno in (errno.ELOOP, errno.ENOTDIR)
        what = "is a link" if linked else _unreadable(error)
        raise UserError(f"{path}: {what}, expected {expected}") from None
    status, limit = os.fstat(descriptor), available_memory() // 2 if most is None else most
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = f"is {_KINDS[stat.S_IFMT(status.st_mode)]}, expected {expected}"
    elif status.st_size > limit:
        problem = f"has {status.st_size:,} bytes, expected {expected} of at most {limit:,}"
    if problem:
        os.close(descriptor)
        raise UserError(f"{path}: {problem}")
    return open(descriptor, "rb")


def read(path: str | Path, expected: str, most: int | None = None, inside: Path | None = None) -> bytes:
    """The contents of a regular file; see `opened`."""
    with opened(path, expected, most, inside) as file:
        try:
            return file.read(os.fstat(file.fileno()).st_size or 2**20) or b""  # files in /proc have size 0
        except OSError as error:
            raise UserError(f"{path}: {_unreadable(error)}, expected {expected}") from None


def check(path: str | Path, expected: str, most: int | None = None, inside: Path | None = None) -> None:
    """Raises UserError unless `opened` would open a file; for libraries that open files themselves."""
    opened(path, expected, most, inside).close()


def _unreadable(error: OSError | ValueError) -> str:
    """Why a file can't be opened or read; a ValueError is about a NUL byte in its path."""
    return f"can't be read ({error.strerror if isinstance(error, OSError) else error})"


def _descriptor(path: Path, inside: Path | None) -> int:
    if inside is None:
        return os.open(path, _FLAGS)
    *folders, name = path.relative_to(inside).parts
    at = os.open(inside, _FLAGS | _FOLDER)
    for folder in folders:
        above = at
        try:
            at = os.open(folder, _FLAGS | _FOLDER | _NO_LINK, dir_fd=above)
        finally:
            os.close(above)
    try:
        return os.open(name, _FLAGS | _NO_LINK, dir_fd=at)
    finally:
        os.close(at)
