"""Whether the files of a bundle are those that were made, by their SHA-256. Nothing but Python is needed.

    python -m export.verify BUNDLE --hashes
    python hashes.py BUNDLE                    # this file alone, without its package

Prints a line for each file that differs. Exit code 0: all are the same; 1: one differs; 2: there is no bundle.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

SUMS = "SHA256SUMS"


def hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of every file in a folder, by its name relative to the folder.

    What is no plain file, such as a link, has no hash that a file could have.
    """
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    return {path.relative_to(folder).as_posix(): _hash(path) for path in paths}


def problems(listed: dict[str, str], found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What is changed, missing or not listed, by the files' names.

    Args:
        listed: the hashes of SHA256SUMS.
        found: what `hash_files` found.
    """
    told = {name: "is missing" for name in listed if name not in found}
    told |= {name: f"is not listed in {SUMS}" for name in found if name not in listed and name != SUMS}
    for name in listed.keys() & found.keys():
        if listed[name] != found[name]["sha256"]:
            told[name] = (
                f"was changed: its SHA-256 begins with {found[name]['sha256'][:12]}, listed {listed[name][:12]}"
            )
    return dict(sorted(told.items()))


def check(folder: Path) -> int:
    """Prints what differs; returns the exit code."""
    try:
        listed = _listed(folder)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    told = problems(listed, hash_files(folder))
    for name, problem in told.items():
        print(f"{name:<20} {problem}")
    print(
        f"NOT OK: {len(told)} of the files differ"
        if told
        else f"all ok ({len(listed):,} files; what they compute was not looked at)"
    )
    return 1 if told else 0


def _listed(folder: Path) -> dict[str, str]:
    """The hashes of SHA256SUMS by the names of the files.

    Raises:
        ValueError: the list is missing, or not as a bundle has it.
    """
    path = folder / SUMS
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{folder}: is no bundle, expected a directory with {SUMS} in it") from None
    pairs = [line.split("  ", 1) for line in lines]
    if not pairs or any(len(pair) != 2 or len(pair[0]) != 64 for pair in pairs):
        raise ValueError(f"{path}: expected lines of a SHA-256, two spaces and a name")
    return {name: digest for digest, name in pairs}


def _hash(path: Path) -> dict[str, Any]:
    if path.is_symlink() or not path.is_file():
        return {"sha256": "no plain file", "bytes": 0}
    with open(path, "rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("error: expected one argument, the directory of a bundle", file=sys.stderr)
        sys.exit(2)
    sys.exit(check(Path(sys.argv[1])))
