"""Parses a command line: `argparse` splits it into flags and words, which the options convert."""

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from importlib.metadata import version
from typing import Any, NoReturn

from csnn_jax.errors import UserError, one_line
from csnn_jax.options import Option, show


def given_options(
    options: Sequence[Option],
    program: str,
    description: str,
    arguments: Sequence[str] | None,
    headings: Mapping[str, str] = {},
) -> dict[str, Any]:
    """The options that a command line gives, by name. `--help` and `--version` print and exit.

    Args:
        options: the command's options.
        program: its name.
        description: its description in `--help`.
        arguments: the command line; None: the process's.
        headings: a line of help for each group of options, in the order of the help.

    Raises:
        UserError: an unknown flag, a missing or an invalid value.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    for word in words:
        if "\0" in word:  # only possible from Python
            raise UserError(f"{one_line(word)}: expected no NUL byte")
    called = _called(program) if arguments is None else program
    advice = f"; see {called} --help"
    by_name = {option.name: option for option in options}
    parser = _parser(options, called, f"{program} {version('csnn-jax')}", description, headings)
    try:
        namespace, unknown = parser.parse_known_intermixed_args(words)
    except argparse.ArgumentError as error:
        name = (error.argument_name or "").split("/")[0]
        option = next((option for option in options if name in _flags(option)), None)
        explicit = re.search("explicit argument '(.*)'", str(error))
        if option is None or explicit:  # --flip=3
            raise UserError(f"{name}{' ' + explicit[1] if explicit else ''}: expected no value{advice}") from None
        raise UserError(f"{option.flag}: expected {option.kind.expected}{advice}") from None
    if unknown:
        raise UserError(f"{_unknown(unknown, options)}{advice}")
    values = vars(namespace)
    missing = [option.flag for option in options if option.is_required() and values.get(option.name, []) == []]
    if missing:
        raise UserError(f"expected {' and '.join(missing)}{advice}")
    return {name: _value(by_name[name], value, advice) for name, value in values.items()}


def _called(program: str) -> str:
    """How this process's command was started: by its name, or as `python -m csnn_jax.train`."""
    module = sys.modules["__main__"].__spec__
    return f"python -m {module.name.removesuffix('.__main__')}" if module else program


def _value(option: Option, given: Any, advice: str) -> Any:
    if option.kind.words == 0:
        return given
    words = [given] if isinstance(given, str) else given
    try:
        return option.kind.parse(words)
    except ValueError:
        shown = f" {show(tuple(words))}" if words else ""
        raise UserError(f"{option.flag}{shown}: expected {option.kind.expected}{advice}") from None


def _unknown(words: Sequence[str], options: Sequence[Option]) -> str:
    """What is wrong with words that no option takes."""
    word = next((word for word in words if word.startswith("-")), None)
    if word is None:
        return f"{one_line(words[0])}: expected a flag"
    name = word.partition("=")[0].replace("_", "-")
    near = difflib.get_close_matches(name, [flag for option in options for flag in _flags(option)], n=1)
    return f"{one_line(word)}: expected a flag of this command" + (f"; perhaps you meant {near[0]}" if near else "")


def _flags(option: Option) -> list[str]:
    if option.positional:
        return []
    return [option.flag, f"--no-{option.flag[2:]}"] if option.kind.words == 0 else [option.flag]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def _parser(
    options: Sequence[Option], called: str, named: str, description: str, headings: Mapping[str, str]
) -> argparse.ArgumentParser:
    """A parser whose result has only what is given, as unconverted words."""
    parser = _Parser(
        prog=called,
        usage=" ".join(["%(prog)s", *map(_usage, filter(Option.is_required, options)), "[FLAGS]"]),
        description=description,
        formatter_class=_Help,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        exit_on_error=False,
    )
    # argparse takes -1e-3 for a flag.
    parser._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
    parser.add_argument("--version", action="version", version=named)
    groups = {name: parser.add_argument_group(f"{name} options", head) for name, head in headings.items()}
    for option in options:
        target = groups.get(option.group, parser)
        text = _help(option).replace("%", "%%")
        if option.positional:
            target.add_argument(
                option.name, nargs="*" if option.kind.words is None else "?", metavar=option.flag, help=text
            )
        elif option.kind.words == 0:
            shown, hidden = (False, True) if option.default is True else (True, False)
            for value in (shown, hidden):
                target.add_argument(
                    _flags(option)[not value],
                    dest=option.name,
                    action="store_const",
                    const=value,
                    help=text if value is shown else argparse.SUPPRESS,
                )
        else:
            many = {"nargs": "*"} if option.kind.words is None else {}
            target.add_argument(option.flag, dest=option.name, metavar=option.kind.metavar, help=text, **many)  # type: ignore[arg-type]
    return parser


def _usage(option: Option) -> str:
    return option.kind.metavar if option.positional else f"{option.flag} {option.kind.metavar}"


def _help(option: Option) -> str:
    """The text of an option with its default, unless the text says what happens without it."""
    if option.default == () or any(option.default is value for value in (None, MISSING, True, False)):
        return option.help
    return f"{option.help} (default: {show(option.default)})"


class _Help(argparse.HelpFormatter):
    """Keeps the description's paragraphs and the names of flags whole, and shows `--flag INT ...` as declared."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=26)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join("\n".join(self._split_lines(paragraph, width)) for paragraph in text.split("\n\n"))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        return str(action.metavar or default_metavar)
