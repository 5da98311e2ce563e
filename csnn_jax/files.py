"""Writing files so that a full disk or a crash never leaves half a file under its final name.

Nor does a signal leave a temporary one: see `Temporary`.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from csnn_jax.errors import UserError
from csnn_jax.interrupts import unbroken

BUNDLE = "manifest.json"
"""The file that makes a folder a bundle of `export`, which can be read like a run, and must not be changed."""


class Temporary:
    """A name beside `path` that nobody has. What is made under it is gone at the end of the block, unless renamed.

    Nothing is made before the name is known, and a signal can't cut off the removal. So whenever an interrupt comes,
    nothing is left.
    """

    def __init__(self, path: Path):
        self.path = path.parent / f".{path.name}.{secrets.token_hex(4)}"

    def __enter__(self) -> Path:
        return self.path

    @unbroken
    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):  # it never was, or it was renamed
            self.path.unlink()


class Scratch(Temporary):
    """An empty folder in the system's place for temporary ones, gone at the end of the block.

    Until then the temporary files of libraries lie in it too, which an interrupt might make them forget.
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


@unbroken
def _place(temporary: Path, path: Path) -> None:
    """Gives a file its name as well, but never over a file that is there."""
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
    """Writes a folder with these files under a temporary name beside `path`, then renames it: it is whole or not there.

    A folder that is there already is replaced.

    Raises:
        UserError: the disk is full or the place can't be written; what was there is as it was.
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
    """Renames a folder that is whole, an older one first out of the way; no signal comes between the two.

    Raises:
        OSError: it can't be renamed; what was there is as it was.
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
    """Removes a folder if it is there; nobody sees it half removed.

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
    """Writes a file that is not there yet, and brings it to the disk."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Brings to the disk what a file or folder holds, as far as the system can."""
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


def user_cache(name: str) -> Path:
    """A folder of the user's for what can be made again; the environment may say where such folders are."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home, "csnn_jax", name)


def rename(made: Path, folder: Path) -> None:
    """Gives a folder its name, unless another process was first: then its folder, which holds the same, is kept.

    Raises:
        OSError: it can't be renamed, and there is none.
    """
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
