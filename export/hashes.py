"""Checks a bundle's files against their listed SHA-256, with none of the packages for exports.

    python -I -m export.verify BUNDLE --hashes

Prints a line for each file that differs. Exit code 0: all match; 1: a file differs; 2: it isn't a bundle.
"""

import hashlib
import os
import stat
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
_EMPTY = "is an empty folder"


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
    paths, folders = [], [folder]
    while folders:
        at = folders.pop()
        try:
            inside = [*os.scandir(at)]
        except OSError as error:
            raise UserError(f"{at}: can't be read ({error.strerror}), expected a folder of a bundle") from None
        paths += [] if inside or at == folder else [at]
        for one in inside:
            (folders if one.is_dir(follow_symlinks=False) else paths).append(Path(one.path))
    return sorted(paths)


def irregular(folder: Path) -> dict[str, str]:
    """Entries that no bundle contains (links, empty folders, devices, programs), with a description, by name.

    If all files are executable, that's how the file system shows files, as on a USB stick.
    """
    modes = {path.relative_to(folder).as_posix(): path.lstat().st_mode for path in entries(folder)}
    mounted = all(mode & EXECUTABLE for mode in modes.values() if stat.S_ISREG(mode))
    special = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
    odd = {}
    for name, mode in modes.items():
        if stat.S_ISLNK(mode):
            odd[name] = "is a link"
        elif stat.S_ISDIR(mode):
            odd[name] = _EMPTY
        elif not stat.S_ISREG(mode):
            odd[name] = "is a device, pipe or socket"
        elif mode & special:
            odd[name] = f"has special permissions, mode {stat.S_IMODE(mode):o}"
        elif mode & EXECUTABLE and not mounted:
            odd[name] = f"is executable, mode {stat.S_IMODE(mode):o}"
    return {name: f"{what}, expected a plain file or nothing" for name, what in odd.items()}


def problems(listed: dict[str, Any], folder: Path, where: str = SUMS) -> dict[str, str]:
    """Files that are changed, missing, not listed or irregular, by name; a folder that lost all its files, by its own.

    Args:
        listed: what is known of each file: its `sha256`, perhaps its `bytes`.
        folder: the bundle.
        where: the name of the list.

    Raises:
        UserError: see `hash_files`.
    """
    hashed = hash_files(folder)
    there = {parent for name in hashed for parent in PurePosixPath(name).parents}
    missing: dict[str, int] = {}
    for name in listed.keys() - hashed.keys():
        lost = [f"{parent}/" for parent in PurePosixPath(name).parents if parent not in there]
        place = lost[-1] if lost else name
        missing[place] = missing.get(place, 0) + 1
    bad = {name: f"is missing{f', {count:,} files' * name.endswith('/')}" for name, count in missing.items()}
    folders, odd = tuple(place for place in missing if place.endswith("/")), irregular(folder)
    emptied = {name for name, what in odd.items() if what.startswith(_EMPTY) and f"{name}/".startswith(folders)}
    bad |= {name: f"is not listed in {where}" for name in hashed if name not in listed and name != SUMS}
    for name in listed.keys() & hashed.keys():
        if wrong := {key: hashed[name][key] for key, value in listed[name].items() if hashed[name][key] != value}:
            key, value = next(iter(wrong.items()))
            bad[name] = f"was changed: its {key} is {value!s:.12}, listed {listed[name][key]!s:.12}"
    return dict(sorted((bad | {name: what for name, what in odd.items() if name not in emptied}).items()))


def check(folder: Path) -> int:
    """Prints the differences; returns the exit code.

    Raises:
        UserError: SHA256SUMS is missing or malformed, or a file can't be read.
    """
    listed = _listed(folder)
    wrong = problems(listed, folder)
    for name, problem in wrong.items():
        print(printable(f"{name:<24} {problem}"))
    if not wrong:
        print(f"all ok ({len(listed):,} files; not checked: what they compute, and who made them)")
        return 0
    print(f"NOT OK: {len(wrong)} {'file differs' if len(wrong) == 1 else 'files differ'}")
    return 1


def _listed(folder: Path) -> dict[str, dict[str, str]]:
    """The hashes from SHA256SUMS, by file name."""
    path = folder / SUMS
    lines = reading.read(path, "a list of hashes", MOST_SUMS, folder).decode(errors="replace").splitlines()
    pairs = [line.split("  ", 1) for line in lines]
    if not pairs or any(len(pair) != 2 or len(pair[0]) != 64 for pair in pairs):
        raise UserError(f"{path}: expected lines with a SHA-256, two spaces and a name")
    for _, name in pairs:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(f"{path}: {name!r}, expected names of files in the bundle")
    return {name: {"sha256": digest} for digest, name in pairs}
