"""The exception that commands print as a single line with exit code 2, and helpers for its message."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar


class UserError(Exception):
    """A user's mistake. The message names the file or flag, the value, and what was expected.

    It's written with flags, as commands print it. Outside commands, `str` names the arguments of a Python function
    instead: `time_steps` for --time-steps. It's always `printable`, because it may contain names from a file.

    Attributes:
        in_command: whether a command is running in this process.
        arguments: names of arguments that differ from their flags'; see `naming_arguments`.
    """

    in_command: ClassVar[bool] = False

    def __init__(self, message: str):
        super().__init__(message)
        self.arguments: dict[str, str] = {}

    def __str__(self) -> str:
        return printable(worded(str(self.args[0]), **self.arguments))


@contextlib.contextmanager
def naming_flags() -> Iterator[None]:
    """Makes messages name flags while a command is running."""
    before, UserError.in_command = UserError.in_command, True
    try:
        yield
    finally:
        UserError.in_command = before


def printable(text: str) -> str:
    r"""Makes any text safe to print on one line: what controls a terminal or reorders text becomes \x1b or \u202e."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def one_line(text: str, longest: int = 100) -> str:
    """Makes any text fit on one line: `printable`, and long text shortened in the middle."""
    shown, half = printable(text), longest // 2
    return shown if len(shown) <= longest else f"{shown[:half]}...{shown[-half:]}"


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; the name of its type if the message is empty."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def first_error(output: str) -> str:
    """The most relevant line of a failed program's output: the first with "error" in it, otherwise the first."""
    lines = output.splitlines() or ["no output"]
    return next((line for line in lines if "error" in line), lines[0]).strip()


def in_python(text: str, arguments: Mapping[str, str] = MappingProxyType({})) -> str:
    """Rewrites a message for Python callers: `time_steps` instead of --time-steps, `bias=False` instead of --no-bias.

    Commands in backticks are left alone.

    Args:
        text: the message.
        arguments: names of arguments that differ from their flags', by the name of the flag with underscores.
    """

    def named(match: re.Match[str]) -> str:
        if match[2] is None:
            return match[0]
        name = match[2].replace("-", "_")
        return arguments.get(name, name) + "=False" * (match[1] is not None)

    return re.sub(r"`[^`]*`|(?<![\w/.-])--(no-)?([a-z][a-z-]*)", named, text)


def worded(text: str, **arguments: str) -> str:
    """A message with flags while a command is running, and `in_python` otherwise."""
    return text if UserError.in_command else in_python(text, arguments)


@contextlib.contextmanager
def naming_arguments(**arguments: str) -> Iterator[None]:
    """Names the arguments of a Python function that differ from their flags: `out="path"` for a `path` that's --out."""
    try:
        yield
    except UserError as error:
        error.arguments |= arguments
        raise
