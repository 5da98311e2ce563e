"""Checks a bundle's files against their listed SHA-256, with none of the packages for exports.

    python -I -m export.verify BUNDLE --hashes

Prints a line for each file that differs. Exit code 0: all match; 1: a file differs; 2: it isn't a bundle.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from csnn_jax import reading
from csnn_jax.errors import UserError, printable

SUMS = "SHA256SUMS"
MOST_SUMS = 2**22
"""Maximum size of SHA256SUMS in bytes: 40,000 files."""
MOST_BYTES = 2**34
"""Maximum size of all files of a bundle together, in bytes, which are hashed in about a minute. Large are those of ten
windows of a large event camera in golden/, and about ten copies of the weights."""
EXECUTABLE = 0o111


def hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of every regular file in a folder, by its relative name; see `irregular` for the rest.

    Raises:
        UserError: the files are too large for a bundle, or one can't be read.
    """
    files = [(path.relative_to(folder).as_posix(), path.lstat()) for path in entries(folder)]
    regular = {name: status.st_size for name, status in files if stat.S_ISREG(status.st_mode)}
    if (size := sum(regular.values())) > MOST_BYTES:
        raise UserError(f"{folder}: its files have {size:,} bytes, expected at most {MOST_BYTES:,}")
    hashed = {}
    for name, size in regular.items():
        with reading.opened(folder / name, "a file of a bundle", MOST_BYTES, folder) as file:
            hashed[name] = {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": size}
    return hashed


def entries(folder: Path) -> list[Path]:
    """Everything in a folder, recursively, except nonempty folders; doesn't follow links.

    Raises:
        UserError: a folder can't be read.
    """
    found, folders = [], [folder]
    while folders:
        at = folders.pop()
        try:
            inside = [*os.scandir(at)]
        except OSError as error:
            raise UserError(f"{at}: can't be read ({error.strerror}), expected a folder of a bundle") from None
        found += [] if inside or at == folder else [at]
        for one in inside:
            (folders if one.is_dir(follow_symlinks=False) else found).append(Path(one.path))
    return sorted(found)


def irregular(folder: Path) -> dict[str, str]:
    """Entries that no bundle contains (links, empty folders, devices, programs), with a description, by name.

    If all files are executable, that's how the file system shows files, as on a USB stick.
    """
    modes = {path.relative_to(folder).as_posix(): path.lstat().st_mode for path in entries(folder)}
    mounted = all(mode & EXECUTABLE for mode in modes.values() if stat.S_ISREG(mode))
    found = {name: _oddity(mode, mounted) for name, mode in modes.items()}
    return {name: f"{what}, expected a plain file or nothing" for name, what in found.items() if what}


def _oddity(mode: int, executables: bool) -> str:
    if stat.S_ISLNK(mode):
        return "is a link"
    if stat.S_ISDIR(mode):
        return "is an empty folder"
    if not stat.S_ISREG(mode):
        return "is a device, pipe or socket"
    if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        return f"has special permissions, mode {stat.S_IMODE(mode):o}"
    return f"is executable, mode {stat.S_IMODE(mode):o}" if mode & EXECUTABLE and not executables else ""


def problems(listed: dict[str, str], folder: Path) -> dict[str, str]:
    """Files that are changed, missing, not listed or irregular, by name.

    Args:
        listed: the hashes from SHA256SUMS.
        folder: the bundle.

    Raises:
        UserError: see `hash_files`.
    """
    odd, found = irregular(folder), hash_files(folder)
    bad = {name: "is missing" for name in listed if name not in found}
    bad |= {name: f"is not listed in {SUMS}" for name in found if name not in listed and name != SUMS}
    for name in listed.keys() & found.keys():
        if listed[name] != found[name]["sha256"]:
            bad[name] = f"was changed: its SHA-256 begins with {found[name]['sha256'][:12]}, listed {listed[name][:12]}"
    return dict(sorted((bad | odd).items()))


def check(folder: Path) -> int:
    """Prints the differences; returns the exit code.

    Raises:
        UserError: SHA256SUMS is missing or malformed, or a file can't be read.
    """
    listed = _listed(folder)
    found = problems(listed, folder)
    for name, problem in found.items():
        print(printable(f"{name:<24} {problem}"))
    print(
        f"NOT OK: {len(found)} {'file differs' if len(found) == 1 else 'files differ'}"
        if found
        else f"all ok ({len(listed):,} files; not checked: what they compute, and who made them)"
    )
    return 1 if found else 0


def _listed(folder: Path) -> dict[str, str]:
    """The hashes from SHA256SUMS, by file name."""
    path = folder / SUMS
    lines = reading.read(path, "a list of hashes", MOST_SUMS, folder).decode(errors="replace").splitlines()
    pairs = [line.split("  ", 1) for line in lines]
    if not pairs or any(len(pair) != 2 or len(pair[0]) != 64 for pair in pairs):
        raise UserError(f"{path}: expected lines with a SHA-256, two spaces and a name")
    for outside in _outside(name for _, name in pairs):
        raise UserError(f"{path}: {outside!r}, expected names of files in the bundle")
    return {name: digest for digest, name in pairs}


def _outside(names: Iterable[str]) -> Iterator[str]:
    """Names that lead outside the folder."""
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            yield name
