"""Writes files so that a full disk or a crash never leaves half a file under its final name.

Signals don't leave temporary files behind, either: see `Temporary`.
"""

import errno
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from csnn_jax.errors import UserError
from csnn_jax.interrupts import unbroken

BUNDLE = "manifest.json"
"""The file that marks a folder as a bundle from `export`, which can be read like a run but must not be changed."""


class Temporary:
    """An unused name next to `path`. Whatever is created there is removed at the end of the block, unless renamed.

    The name is known before anything is created, and a signal can't cut off the removal, so an interrupt never leaves
    anything behind.
    """

    def __init__(self, path: Path):
        self.path = path.parent / f".{path.name}.{secrets.token_hex(4)}"

    def __enter__(self) -> Path:
        return self.path

    @unbroken
    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):  # never created, or renamed
            self.path.unlink()


class Scratch(Temporary):
    """An empty folder in the system's temporary directory, removed at the end of the block.

    Until then, libraries put their temporary files there too, because an interrupt could keep them from cleaning up.
    """

    def __init__(self) -> None:
        super().__init__(Path(tempfile.gettempdir()) / "csnn")

    @unbroken
    def __enter__(self) -> Path:
        self.path.mkdir(0o700)
        self._before, tempfile.tempdir = tempfile.tempdir, str(self.path)
        return self.path

    @unbroken
    def __exit__(self, *exception: object) -> None:
        if tempfile.tempdir == str(self.path):
            tempfile.tempdir = self._before
        super().__exit__(*exception)


def create_folder(path: Path) -> None:
    """Creates the folder of --out with its parents, unless it exists.

    Raises:
        UserError: it can't be created or written.
    """
    check_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {path}: can't be created: {error.strerror}") from None


def check_folder(path: Path, out: Path | None = None) -> None:
    """Checks that files can be written to a folder, which need not exist yet.

    Args:
        path: the folder.
        out: the value of --out, if it's a file in the folder.

    Raises:
        UserError: they can't, or the folder or one of its parents isn't one.
    """
    named = f"--out {path if out is None else out}"
    try:
        nearest = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
        if not nearest.is_dir():
            what = "" if out is None and nearest == path else f"{nearest} "
            raise UserError(f"{named}: {what}isn't a directory, expected one or a path to create it at")
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise UserError(f"{named}: can't be written in {nearest}: {error.strerror}") from None


def write_atomic(path: Path, data: bytes) -> None:
    """Writes `data` under a temporary name next to `path`, then renames it, so `path` is complete, old or new.

    Raises:
        UserError: the disk is full or the folder can't be written; `path` is unchanged.
    """
    _write(path, data, os.replace)


def write_new(path: Path, data: bytes) -> None:
    """`write_atomic` for a file that must not exist yet: of several concurrent writers, one succeeds.

    Raises:
        FileExistsError: the file exists.
        UserError: the disk is full or the folder can't be written.
    """
    _write(path, data, _place)


@unbroken
def _place(temporary: Path, path: Path) -> None:
    """Links a file to its final name, but never over an existing file."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        write_through(path, temporary.read_bytes())


def _write(path: Path, data: bytes, place: Callable[[Path, Path], None]) -> None:
    with Temporary(path) as temporary:
        try:
            write_through(temporary, data)
            place(temporary, path)
        except FileExistsError:
            raise
        except OSError as error:
            raise UserError(f"{path}: can't be written: {error.strerror}") from None


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder with these files under a temporary name next to `path`, then renames it: all of it or nothing.

    Replaces an existing folder.

    Raises:
        UserError: the disk is full or the location can't be written; an existing folder is unchanged.
    """
    at = path
    with Temporary(path) as temporary:
        try:
            path.parent.mkdir(exist_ok=True)
            temporary.mkdir()
            for name, data in files.items():
                at = path / name
                write_through(temporary / name, data)
            at = path
            replace_folder(temporary, path)
        except OSError as error:
            raise UserError(f"{at}: can't be written: {error.strerror}") from None


@unbroken
def replace_folder(temporary: Path, path: Path) -> None:
    """Moves an old folder out of the way and renames a complete one to `path`, with no signal in between.

    Raises:
        OSError: it can't be renamed; an existing folder is unchanged.
    """
    sync(temporary)
    with Temporary(path) as old:
        try:
            path.rename(old)
        except FileNotFoundError:
            temporary.rename(path)
        else:
            try:
                temporary.rename(path)
            except BaseException:
                old.rename(path)
                raise
    sync(path.parent)


@unbroken
def remove_folder(path: Path) -> None:
    """Removes a folder if it exists; nobody sees it half removed.

    Raises:
        UserError: it can't be removed.
    """
    with Temporary(path) as gone:
        try:
            path.rename(gone)
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"{path}: can't be removed: {error.strerror}") from None


def write_through(path: Path, data: bytes) -> None:
    """Writes a new file and flushes it to disk."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Flushes a file or folder to disk, as far as the system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def append_line(path: Path, line: str) -> None:
    """Appends one line; see `append`."""
    append(path, (line + "\n").encode())


def append(path: Path, data: bytes) -> None:
    """Appends all of `data` or nothing: a partial write is undone. Neither follows a link nor waits for a pipe.

    Raises:
        UserError: the disk is full or the file can't be written; `path` is unchanged.
    """
    try:
        with open(path, "ab", buffering=0, opener=without_links) as file:
            size = file.tell()
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a short write: the disk is full
            except OSError:
                file.truncate(size)
                if not size:
                    path.unlink()
                raise
    except OSError as error:
        raise UserError(f"{path}: can't be written: {error.strerror}") from None


def without_links(path: str, flags: int) -> int:
    """An opener for files in a run, which may come from someone else and must not lead out of it."""
    return os.open(path, flags if sys.platform == "win32" else flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def user_cache(name: str) -> Path:
    """A cache folder of the user; XDG_CACHE_HOME can move it."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home, "csnn_jax", name)


def rename(made: Path, folder: Path) -> None:
    """Renames a folder, unless another process was first: then its folder, which has the same contents, is kept.

    Raises:
        OSError: it can't be renamed, and there is no such folder.
    """
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
