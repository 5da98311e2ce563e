"""Whether a bundle's files are those that were listed, by their SHA-256. Needs nothing but Python.

    python -I -m export.verify BUNDLE --hashes
    python -I hashes.py BUNDLE                 # this file alone, without its package

Prints a line for each file that differs. Exit code 0: all are the same; 1: one differs; 2: there is no bundle.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

SUMS = "SHA256SUMS"


def hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of every file in a folder, by its name relative to the folder; see `irregular` for the rest."""
    hashed = {}
    for path in entries(folder):
        if path.is_file() and not path.is_symlink():
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashed[path.relative_to(folder).as_posix()] = {"sha256": digest, "bytes": path.stat().st_size}
    return hashed


def entries(folder: Path) -> list[Path]:
    """All that a folder holds, links not followed, but for folders that hold something themselves."""
    found = []
    for top, folders, files in os.walk(folder):
        inside = [Path(top, name) for name in (*folders, *files)]
        found += [path for path in inside if path.is_symlink() or not path.is_dir() or not any(path.iterdir())]
    return sorted(found)


def irregular(folder: Path) -> dict[str, str]:
    """What is neither a file nor a folder of files, by name, and what it is: no bundle has such a thing."""
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
    """What is changed, missing, not listed or no file at all, by name.

    Args:
        listed: the hashes of SHA256SUMS.
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
    """Prints what differs; returns the exit code."""
    try:
        listed = _listed(folder)
    except ValueError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    found = problems(listed, folder)
    for name, problem in found.items():
        print(f"{printable(name):<24} {problem}")
    print(
        f"NOT OK: {len(found)} of the files differ"
        if found
        else f"all ok ({len(listed):,} files; not checked: what they compute, and who made them)"
    )
    return 1 if found else 0


def printable(text: str) -> str:
    r"""Text with everything that could act on a terminal, such as an escape sequence, written as \x1b is."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def _listed(folder: Path) -> dict[str, str]:
    """The hashes of SHA256SUMS by the names of the files.

    Raises:
        ValueError: the list is missing, or not as a bundle has it.
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
    """Names that lead out of the folder."""
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            yield name


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("error: expected one argument, the directory of a bundle", file=sys.stderr)
        sys.exit(2)
    sys.exit(check(Path(sys.argv[1])))
