"""The bundle directory: made under a temporary name beside its own and renamed, so that no half bundle is ever seen.

The folder of a demonstration is made in the same way.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from csnn_jax.errors import UserError

MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
REPORT, PAGE = "report.md", "report.html"
CONFIG, WEIGHTS = "config.json", "weights.safetensors"
"""The run's own files, by which a bundle is a run to whoever reads those two only."""


class Kind(NamedTuple):
    """A kind of folder: its name for a reader, and the file by which it is known."""

    name: str
    mark: str


BUNDLE = Kind("bundle", MANIFEST)


def check_is(path: Path) -> None:
    """Raises UserError where there is no bundle."""
    if not (path / MANIFEST).is_file():
        raise UserError(f"{path}: is no bundle, expected a directory with {MANIFEST} in it")


def check_free(path: Path, overwrite: bool, kind: Kind = BUNDLE) -> None:
    """Refuses a place that a bundle, or a folder of another kind, can't be made at.

    Raises:
        UserError: something is there already (with `overwrite`: something of another kind), or there is no folder
            to make it in.
    """
    if os.path.lexists(path):
        mine = not path.is_symlink() and (path / kind.mark).is_file()
        if not overwrite:
            way = ", or --overwrite" if mine else ""
            raise UserError(f"--out {path}: exists already; expected another path{way}")
        if not mine:
            raise UserError(f"--out {path}: is no {kind.name}, --overwrite replaces only what has a {kind.mark} in it")
    for parent in path.absolute().parents:
        if os.path.lexists(parent):
            if not parent.is_dir():
                raise UserError(f"--out {path}: {parent} is no directory")
            break


@contextmanager
def new(path: Path, overwrite: bool = False, kind: Kind = BUNDLE) -> Iterator[Path]:
    """Gives an empty folder to fill; at the end of the block it becomes `path`, or on any exception vanishes.

    Raises:
        UserError: see `check_free`; or the folder can't be made or filled (a full disk, no permission).
    """
    check_free(path, overwrite, kind)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        yield temporary
        temporary.chmod(0o755)
        _sync(temporary)
        _replace(temporary, path, overwrite, kind)
    except OSError as error:
        raise UserError(f"--out {path}: can't be made: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace(temporary: Path, path: Path, overwrite: bool, kind: Kind) -> None:
    """Renames, an older bundle first out of the way; it is put back if the new one can't take its place."""
    check_free(path, overwrite, kind)  # again, for it took minutes to fill
    if not os.path.lexists(path):
        os.rename(temporary, path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    os.rename(path, old / path.name)
    try:
        os.rename(temporary, path)
    except BaseException:
        os.rename(old / path.name, path)
        old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Has every file on the disk before the rename, so that a power cut can't leave empty files under the name."""
    for path in [folder, *folder.rglob("*")]:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
