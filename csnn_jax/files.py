"""Writing files so that a full disk or a crash never leaves half a file under its final name."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
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


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder with these files under a temporary name beside `path`, then renames it: it is whole or not there.

    A folder that is there already is replaced.

    Raises:
        UserError: the disk is full or the place can't be written; what was there is as it was.
    """
    temporary, at = None, path
    try:
        path.parent.mkdir(exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        for name, data in files.items():
            at = path / name
            _write_through(temporary / name, data)
        temporary.chmod(0o755)
        sync(temporary)
        remove_folder(path)
        os.rename(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise UserError(f"{at}: can't be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)  # none after the renaming


def remove_folder(path: Path) -> None:
    """Removes a folder if it is there; nobody sees it half removed.

    Raises:
        UserError: it can't be removed.
    """
    gone = path.with_name(f".{path.name}.gone")
    try:
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path}: can't be removed: {error.strerror}") from None
    shutil.rmtree(gone, ignore_errors=True)


def _write_through(path: Path, data: bytes) -> None:
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
