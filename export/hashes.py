"""Checks a bundle's files against their listed SHA-256. Needs only Python.

    python -I -m export.verify BUNDLE --hashes
    python -I hashes.py BUNDLE                 # only this file, without its package

Prints a line for each file that differs. Exit code 0: all match; 1: a file differs; 2: it isn't a bundle.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

SUMS = "SHA256SUMS"


def hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of every regular file in a folder, by its relative name; see `irregular` for the rest."""
    hashed = {}
    for path in entries(folder):
        if path.is_file() and not path.is_symlink():
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashed[path.relative_to(folder).as_posix()] = {"sha256": digest, "bytes": path.stat().st_size}
    return hashed


def entries(folder: Path) -> list[Path]:
    """Everything in a folder, recursively, except nonempty folders; doesn't follow links."""
    found = []
    for top, folders, files in os.walk(folder):
        inside = [Path(top, name) for name in (*folders, *files)]
        found += [path for path in inside if path.is_symlink() or not path.is_dir() or not any(path.iterdir())]
    return sorted(found)


def irregular(folder: Path) -> dict[str, str]:
    """Entries that no bundle contains (links, empty folders, devices), with a description, by name."""
    found = {}
    for path in entries(folder):
        if path.is_symlink():
            what = "is a link"
        elif path.is_dir():
            what = "is an empty folder"
        elif not path.is_file():
            what = "is a device, pipe or socket"
        else:
            continue
        found[path.relative_to(folder).as_posix()] = f"{what}, expected a plain file or nothing"
    return found


def problems(listed: dict[str, str], folder: Path) -> dict[str, str]:
    """Files that are changed, missing, not listed or irregular, by name.

    Args:
        listed: the hashes from SHA256SUMS.
        folder: the bundle.
    """
    odd, found = irregular(folder), hash_files(folder)
    bad = {name: "is missing" for name in listed if name not in found}
    bad |= {name: f"is not listed in {SUMS}" for name in found if name not in listed and name != SUMS}
    for name in listed.keys() & found.keys():
        if listed[name] != found[name]["sha256"]:
            bad[name] = f"was changed: its SHA-256 begins with {found[name]['sha256'][:12]}, listed {listed[name][:12]}"
    return dict(sorted((bad | odd).items()))


def check(folder: Path) -> int:
    """Prints the differences; returns the exit code."""
    try:
        listed = _listed(folder)
    except ValueError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    found = problems(listed, folder)
    for name, problem in found.items():
        print(f"{printable(name):<24} {problem}")
    print(
        f"NOT OK: {len(found)} {'file differs' if len(found) == 1 else 'files differ'}"
        if found
        else f"all ok ({len(listed):,} files; not checked: what they compute, and who made them)"
    )
    return 1 if found else 0


def printable(text: str) -> str:
    r"""Text with unprintable characters, which could control a terminal, escaped, such as \x1b."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def _listed(folder: Path) -> dict[str, str]:
    """The hashes from SHA256SUMS, by file name.

    Raises:
        ValueError: the list is missing or malformed.
    """
    path = folder / SUMS
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError, ValueError):
        raise ValueError(f"{folder}: isn't a bundle, expected a directory with {SUMS}") from None
    pairs = [line.split("  ", 1) for line in lines]
    if not pairs or any(len(pair) != 2 or len(pair[0]) != 64 for pair in pairs):
        raise ValueError(f"{path}: expected lines with a SHA-256, two spaces and a name")
    for outside in _outside(name for _, name in pairs):
        raise ValueError(f"{path}: {outside!r}, expected names of files in the bundle")
    return {name: digest for digest, name in pairs}


def _outside(names: Iterator[str]) -> Iterator[str]:
    """Names that lead outside the folder."""
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            yield name


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("error: expected one argument, the directory of a bundle", file=sys.stderr)
        sys.exit(2)
    sys.exit(check(Path(sys.argv[1])))
