"""The one exception that a command line turns into a single line and exit code 2."""


class UserError(Exception):
    """A mistake of the user's: the message names the file or flag, the value, and what was expected."""
