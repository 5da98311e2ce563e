"""The one exception that a command line turns into a single line and exit code 2, and what goes into that line."""

import contextlib
import itertools
import re
from collections.abc import Iterator


class UserError(Exception):
    """A wrong flag, value or file. The one-line message names it and says what was expected."""


def one_line(text: str, longest: int = 100) -> str:
    """Text from anywhere as a part of one line: control characters are escaped, a long middle is left out."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    half = longest // 2
    return shown if len(shown) <= longest else f"{shown[:half]}...{shown[-half:]}"


def first_line(error: BaseException) -> str:
    """The first line of what an exception says; its type's name where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def first_error(output: str) -> str:
    """The line of a failed program's output that tells why: the first one with "error" in it, else the first."""
    lines = output.splitlines() or ["no output"]
    return next((line for line in lines if "error" in line), lines[0]).strip()


def refusal(box: str, words: list[str]) -> str:
    """One line of the box in which tyro says why it takes no such command line.

    Args:
        box: what it wrote: a title in the upper edge, then parts with a rule between them.
        words: the command line.
    """
    rows = [row[1:-1].strip() for row in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    rules = [place for place, row in enumerate(rows) if row and not row.strip("─-")]
    edges = [0, *rules, len(rows) - 1]
    parts = [rows[start + 1 : end] for start, end in itertools.pairwise(edges)]
    said = " ".join(itertools.takewhile(bool, parts[0])).rstrip(".")
    for head, row, *_ in (part for part in parts if len(part) > 1):
        flag, _, takes = row.partition(" ")
        if head == "Argument helptext:":
            none = " or None" if takes.startswith("{None}|") else ""
            return f"{flag} {_given(flag, words)}: expected {takes.removeprefix('{None}|').strip('{}')}{none}"
        if head == "Perhaps you meant:":
            said += f"; perhaps you meant {row}"
    return said


def _given(flag: str, words: list[str]) -> str:
    """The values of a flag on the command line."""
    after = itertools.dropwhile(lambda word: word.partition("=")[0] != flag, words)
    first = next(after, "").partition("=")[2]
    return " ".join([*([first] if first else []), *itertools.takewhile(lambda word: not word.startswith("--"), after)])


def in_python(text: str) -> str:
    """A line that names flags as it is for somebody who calls from Python: `time_steps`, where it has --time-steps.

    Commands in it, which stand in backticks, stay.
    """

    def named(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        return "path" if found[1] == "out" else found[1].replace("-", "_")  # csnn_jax.save's

    return re.sub(r"`[^`]*`|--([a-z][a-z-]*)", named, text)


@contextlib.contextmanager
def naming_arguments() -> Iterator[None]:
    """Lets a mistake of the user's name the arguments of a Python function, not the flags of a command."""
    try:
        yield
    except UserError as error:
        error.args = (in_python(str(error)),)
        raise
