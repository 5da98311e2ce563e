"""The one exception that a command line turns into a single line and exit code 2, and what goes into that line."""


class UserError(Exception):
    """A mistake of the user's: the message names the file or flag, the value, and what was expected."""


def first_line(error: BaseException) -> str:
    """The first line of what an exception says; its type's name where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def first_error(output: str) -> str:
    """The line of a failed program's output that tells why: the first one with "error" in it, else the first."""
    lines = output.splitlines() or ["no output"]
    return next((line for line in lines if "error" in line), lines[0]).strip()
