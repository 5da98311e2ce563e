"""Options: one declaration gives a field, its check and message, its flag, its JSON, and its row of the reference.

A frozen dataclass derived from `Options` declares them: `lr: float | None = option(None, number(above=0), "Learning
rate ...")`. Imports no framework.
"""

import functools
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from csnn_jax.errors import UserError, one_line
from csnn_jax.options.kinds import Kind


@dataclass(frozen=True)
class Option:
    """What is declared about an option.

    Attributes:
        name: the field's name, `time_steps` for `--time-steps`.
        default: its value if it isn't given; MISSING: required.
        kind: its values. A default of None is valid, too, and means what `help` says.
        help: the text in `--help` and in the reference.
        group: its heading in `--help`; empty: none.
        positional: whether a command line has its value without a flag.
        has_flag: whether a command line can set it; otherwise it follows from the data.
    """

    name: str
    default: Any
    kind: Kind
    help: str
    group: str = ""
    positional: bool = False
    has_flag: bool = True

    @property
    def flag(self) -> str:
        """How messages and command lines name it: `--time-steps`, or `RUN` for a positional argument."""
        if not self.has_flag:
            return self.name
        return self.kind.metavar.removesuffix(" ...") if self.positional else flag_of(self.name)

    def is_required(self) -> bool:
        """Returns whether it has no default."""
        return self.default is MISSING

    def check(self, value: Any) -> None:
        """Raises UserError unless a value is the default or of its kind."""
        is_default = type(value) is type(self.default) and value == self.default
        if not is_default and not self.kind.accepts(value):
            raise self.error(value)

    def error(self, value: Any, expected: str | None = None) -> UserError:
        """An error for a value.

        Args:
            value: the value.
            expected: what was expected; None: a value of its kind.
        """
        on = value is True and self.kind.words == 0
        whole = self.kind.metavar.startswith("INT")
        shown = "" if on else f" {show(value, self.kind.quoted and expected is None, whole)}"
        return UserError(f"{self.flag}{shown}: expected {expected or self.kind.expected}")


def option(default: Any, kind: Kind, help: str, group: str = "", **more: bool) -> Any:
    """Declares a field of a dataclass as an option.

    Args:
        default: its value if it isn't given; MISSING: required.
        kind: its values.
        help: what it's for, and what happens without it if the default is None.
        group: its heading in `--help`; empty: none.
        more: `positional` or `has_flag`, see `Option`.
    """
    declared = {"kind": kind, "help": " ".join(help.split()), "group": group, **more}
    return field(default=default, metadata=declared) if default is not MISSING else field(metadata=declared)


def options_of(kind: Any) -> tuple[Option, ...]:
    """The options of a dataclass, in the order of its fields; fields declared without `option` are left out."""
    return _options(kind)


@functools.cache
def _options(kind: Any) -> tuple[Option, ...]:
    return tuple(Option(one.name, one.default, **one.metadata) for one in fields(kind) if "kind" in one.metadata)


def check(flag: str, value: Any, expected: str, ok: bool) -> None:
    """Raises UserError unless a value is `ok`; `flag` has it, and `expected` says what was expected."""
    if not ok:
        raise UserError(f"{flag} {show(value)}: expected {expected}")


def check_value(flag: str, value: Any, kind: Kind) -> None:
    """Raises UserError unless a value that `flag` has is of a kind."""
    if not kind.accepts(value):
        raise UserError(f"{flag} {show(value, kind.quoted)}: expected {kind.expected}")


class Rule(NamedTuple):
    """A rule between options.

    Attributes:
        name: the option that a message blames.
        expected: what was expected of it, or a function of the dataclass that says so.
        holds: whether a dataclass instance obeys the rule.
    """

    name: str
    expected: str | Callable[[Any], str]
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Options:
    """The base of dataclasses whose fields are options; checks them when an instance is created.

    Lists become tuples, and NumPy numbers and arrays become Python's.

    Attributes:
        RULES: the rules between the options, checked in order, so later ones can rely on earlier ones.

    Raises:
        UserError: a value is invalid, or breaks a rule.
    """

    RULES: ClassVar[Sequence[Rule]] = ()

    def __post_init__(self):
        self.check_values()
        self.check_rules()

    def check_values(self) -> None:
        """Checks each option by itself."""
        for declared in options_of(type(self)):
            value = _plain(getattr(self, declared.name))
            object.__setattr__(self, declared.name, value)
            declared.check(value)

    def check_rules(self) -> None:
        """Checks the rules."""
        check_rules(self, self.RULES, self)


def check_rules(config: Any, rules: Sequence[Rule], *owners: Any) -> None:
    """Raises UserError for the first rule that a configuration breaks.

    Args:
        config: what the rules are about.
        rules: the rules.
        owners: the instances of `Options` that have the values.
    """
    for rule in rules:
        if not rule.holds(config):
            declared = ((owner, one) for owner in owners for one in options_of(type(owner)))
            owner, one = next((owner, one) for owner, one in declared if one.name == rule.name)
            expected = rule.expected if isinstance(rule.expected, str) else rule.expected(config)
            raise one.error(getattr(owner, rule.name), expected)


def flag_of(name: str) -> str:
    """The flag of an option: `--time-steps` for `time_steps`."""
    return "--" + name.replace("_", "-")


class Described(ABC):
    """A value of an option that has its own form in JSON, and a command line reads from a file.

    Attributes:
        word: the file's name in a command line that a user can adapt.
    """

    word = "FILE"

    @abstractmethod
    def described(self) -> Any:
        """Its form in JSON."""


def words_of(name: str, value: Any) -> list[str]:
    """The words of a command line that give an option a value."""
    if isinstance(value, Described):
        return [flag_of(name), value.word]
    if isinstance(value, bool):
        return [flag_of(name) if value else flag_of(f"no_{name}")]
    return [flag_of(name), *map(_word, value if isinstance(value, tuple) else (value,))]


def _word(value: Any) -> str:
    """A value as a user would write it: 2, not 2.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 else str(value)


def show(value: object, quoted: bool = False, whole: bool = False) -> str:
    """A value as part of one line, short and without control characters.

    Args:
        value: the value.
        quoted: whether text is in quotes.
        whole: whether whole numbers are expected, so 5.0 isn't shown as 5.
    """
    try:
        parts = value if isinstance(value, tuple) else (value,)
        text = " ".join(
            repr(part) if part == "" or (quoted and isinstance(part, str)) else _shown(part, whole) for part in parts
        )
    except ValueError:  # an integer with more digits than Python converts
        text = "(thousands of digits)"
    return one_line(text)


def _shown(value: object, whole: bool) -> str:
    return str(value).removesuffix(".0") if isinstance(value, float) and not whole else str(value)


def _plain(value: Any) -> Any:
    value = _of_python(value)
    return tuple(map(_of_python, value)) if isinstance(value, list | tuple) else value


def _of_python(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def as_values(value: Any) -> Any:
    """A dataclass of options, or any value in one, as values of JSON."""
    if isinstance(value, Described):
        return value.described()
    if is_dataclass(value):
        return {one.name: as_values(getattr(value, one.name)) for one in fields(value)}
    return [as_values(one) for one in value] if isinstance(value, tuple) else value


def to_json(config: Any) -> str:
    """A dataclass of options as JSON text, readable by `from_json`."""
    return json.dumps(as_values(config), indent=2)


def from_json(kind: type, text: str, source: str) -> Any:
    """Reads a dataclass of options, or one of such dataclasses.

    Args:
        kind: the dataclass.
        text: JSON text, as from `to_json`; missing fields get their defaults.
        source: the file it came from, for messages.

    Raises:
        UserError: invalid JSON, an unknown field, or a value out of range; the message names `source`.
    """
    return from_values(kind, parsed_json(text, source), source)


def parsed_json(text: str, source: str) -> Any:
    """The value of JSON text; raises UserError, naming `source`, if it's invalid."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: expected JSON: {error}") from None


def from_values(kind: type, values: Any, source: str) -> Any:
    """`from_json` for parsed JSON."""
    try:
        return _made(kind, values)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def _made(kind: type, values: Any) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"{kind.__name__} is {show(values)}: expected an object of named fields")
    parts = {one.name: one.default_factory for one in fields(kind)}
    for name in values:
        if name not in parts:
            raise UserError(f"{name}: {kind.__name__} has no such field, expected one of {', '.join(sorted(parts))}")
    made = {
        name: value if parts[name] is MISSING else _made(parts[name], value)  # type: ignore[arg-type]
        for name, value in values.items()
    }
    return kind(**made)
