"""Checks refusals by their facts: how they end, one line that names the flag or file and the value, nothing written."""

import contextlib
import itertools
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from commands import call, run

from csnn_jax.errors import UserError

Folder = str | os.PathLike


@contextlib.contextmanager
def refusing(
    error: type[BaseException] | tuple[type[BaseException], ...] = UserError,
    *facts: object,
    unchanged: Folder | None = None,
) -> Iterator[pytest.ExceptionInfo]:
    """Expects an exception whose message is one line with these facts.

    Args:
        error: the exception's type.
        facts: the argument or file, its value, and what was expected. Each must be in the message as a whole word,
            number or flag.
        unchanged: a file or folder that the refused call must not change or create.
    """
    with _unchanged([] if unchanged is None else [unchanged]), pytest.raises(error) as caught:
        yield caught
    assert_line(str(caught.value), *facts)


def refused(
    module: str,
    *arguments: object,
    names: Iterable[object],
    cwd: Folder = ".",
    prints: str = "",
    unchanged: Folder | None = None,
) -> str:
    """Calls a command that must end with exit code 2, print one line on stderr, and write nothing.

    Args:
        module: the command's module.
        arguments: its command line.
        names: the facts in the line: the flag or file, its value, and what was expected.
        cwd: the working directory, which must stay unchanged if it's given, as must the value of --out.
        prints: a part of what it prints on stdout before; nothing if it's empty.
        unchanged: another file or folder that must stay unchanged.

    Returns:
        The line.
    """
    with _unchanged(_outputs(arguments, cwd) + ([] if unchanged is None else [unchanged])):
        done = call(module, *arguments, cwd=cwd)
    return assert_refused(done, *names, prints=prints)


def refused_by_process(
    module: str, *arguments: object, names: Iterable[object], cwd: Folder = ".", prints: str = "", **options
) -> str:
    """`refused` in a separate process."""
    with _unchanged(_outputs(arguments, cwd)):
        done = run(module, *arguments, cwd=cwd, **options)
    return assert_refused(done, *names, prints=prints)


def assert_refused(done: subprocess.CompletedProcess, *facts: object, prints: str = "") -> str:
    """Asserts that a finished command refused its arguments; returns the line."""
    assert done.returncode == 2, done
    assert prints in done.stdout if prints else not done.stdout, done
    assert done.stderr.startswith("error: ") and done.stderr.endswith("\n"), done
    return assert_line(done.stderr.removesuffix("\n"), *facts)


def assert_line(line: str, *facts: object) -> str:
    """Asserts that a message is one line, has no traceback and contains each fact; returns it."""
    assert line and len(line.splitlines()) == 1 and "Traceback" not in line, line
    missing = [fact for fact in facts if not _contains(line, fact)]
    assert not missing, f"{line!r} lacks {missing}"
    return line


def _contains(line: str, fact: object) -> bool:
    """Whether a line contains a fact that isn't part of a longer word, number or flag."""
    if isinstance(fact, int) and abs(fact) >= 1000 and f"{fact:,}" in line:
        return True
    text = str(fact)
    before = r"(?<![\w-])(?<!\d[.,])" if re.match(r"[\d.]", text) else r"(?<!\w)" if re.match(r"\w", text) else ""
    after = r"(?![\w-])" if text.startswith("--") else r"(?!\w|[.,]\d)" if re.search(r"\w$", text) else ""
    return re.search(before + re.escape(text) + after, line) is not None


@contextlib.contextmanager
def _unchanged(paths: list[Folder]) -> Iterator[None]:
    before = [snapshot(path) for path in paths]
    yield
    for path, contents in zip(paths, before, strict=True):
        assert snapshot(path) == contents, f"{path} changed"


def snapshot(path: Folder) -> dict[str, object]:
    """The names and contents of a file or of all files and folders below a folder."""
    root = Path(path)
    entries = [root, *root.rglob("*")] if os.path.lexists(root) else []
    return {str(entry.relative_to(root)): _content(entry) for entry in entries}


def _content(entry: Path) -> object:
    if entry.is_symlink():
        return os.readlink(entry)
    return entry.read_bytes() if entry.is_file() else entry.stat().st_mode


def _outputs(arguments: tuple[object, ...], cwd: Folder) -> list[Folder]:
    """What a refused command must not write: the values of --out, and the working directory if it's the test's."""
    words = [str(argument) for argument in arguments]
    paths = [Path(cwd, value) for flag, value in itertools.pairwise(words) if flag == "--out"]
    return [*paths, *([cwd] if str(cwd) != "." else [])]
