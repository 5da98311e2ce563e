"""The kinds of values that options accept: what they are in words, which are valid, and how a command line spells them.

Imports no framework.
"""

import operator
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args


@dataclass(frozen=True)
class Kind:
    """The values of an option.

    Attributes:
        expected: the valid values in words, as a message says after "expected".
        metavar: their placeholder in `--help`.
        accepts: returns whether a Python value is valid.
        parse: converts the words of a command line, and raises ValueError if they aren't of this kind. The value may
            still be out of range.
        words: how many words a command line has for a value; None: any number.
        choices: the words it accepts besides other values.
        quoted: whether messages put text in quotes, because a number or a boolean was expected.
    """

    expected: str
    metavar: str
    accepts: Callable[[Any], bool]
    parse: Callable[[Sequence[str]], Any]
    words: int | None = 1
    choices: tuple[str, ...] = ()
    quoted: bool = True


def count(least: int = 1, most: int | None = None, limits: str = "") -> Kind:
    """Whole numbers in a range, which includes its ends; `limits` describes it, if that's clearer."""
    limits = limits or (f"of at least {least}" if most is None else f"from {least} to {most:,}")
    highest = 2**64 - 1 if most is None else most

    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= highest

    return Kind(f"a whole number {limits}", "INT", accepts, lambda words: int(words[0]))


def number(
    least: float | None = None,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    limits: str = "",
    also: Callable[[float], bool] = lambda value: True,
) -> Kind:
    """Finite numbers in a range.

    Args:
        least: its lower end, if it belongs to it.
        most: its upper end, if it belongs to it.
        above: its lower end, if it doesn't belong to it.
        below: its upper end, if it doesn't belong to it.
        limits: the range in words; by default made from its ends.
        also: another condition, to be included in `limits`.
    """
    bounds = [
        (compare, word, bound)
        for compare, word, bound in (
            (operator.ge, "of at least", least),
            (operator.gt, "above", above),
            (operator.le, "at most", most),
            (operator.lt, "below", below),
        )
        if bound is not None
    ]
    text = limits or " and ".join(f"{word} {bound:g}" for _, word, bound in bounds)
    if least is not None and most is not None:
        text = f"from {least:g} to {most:g}"
    expected = "a positive number" if text == "above 0" else f"a number {text}".strip()

    def accepts(value: Any) -> bool:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
            return False
        return all(compare(value, bound) for compare, _, bound in bounds) and also(value)

    return Kind(expected, "FLOAT", accepts, lambda words: float(words[0]))


def choice(names: Any) -> Kind:
    """One of a few words, given as a `Literal` or a sequence."""
    known = get_args(names) or tuple(names)
    text = f"one of {', '.join(known)}"

    def parse(words: Sequence[str]) -> str:
        if words[0] not in known:
            raise ValueError
        return words[0]

    return Kind(text, f"{{{','.join(known)}}}", lambda value: value in known, parse, 1, known, quoted=False)


def text(expected: str = "text that isn't empty", valid: Callable[[str], bool] = bool, metavar: str = "TEXT") -> Kind:
    """Text with a property.

    Args:
        expected: what is valid, in words.
        valid: whether a text is.
        metavar: its placeholder in `--help`.
    """

    def accepts(value: Any) -> bool:
        return isinstance(value, str) and "\0" not in value and valid(value)

    return Kind(expected, metavar, accepts, lambda words: words[0], quoted=False)


NAME = text("a data set", metavar="NAME")
RUN = text("a run directory", metavar="RUN")
SWITCH = Kind("true or false", "", lambda value: isinstance(value, bool), lambda words: True, 0)
"""True or false. The flags `--name` and `--no-name` set it."""


def either(names: Sequence[str], other: Kind) -> Kind:
    """One of a few words, or a value of another kind."""
    expected = f"{', '.join(names)}, or {other.expected}"

    def parse(words: Sequence[str]) -> Any:
        return words[0] if words[0] in names else other.parse(words)

    return Kind(
        expected,
        "|".join((*names, other.metavar)),
        lambda value: (isinstance(value, str) and value in names) or other.accepts(value),
        parse,
        choices=tuple(names),
        quoted=False,
    )


def several(
    kind: Kind, length: int | None = None, *, least: int = 0, distinct: bool = False, expected: str = ""
) -> Kind:
    """A tuple of values of one kind.

    Args:
        kind: their kind.
        length: how many; None: any number.
        least: the smallest number.
        distinct: whether each may occur only once, which `expected` says.
        expected: the valid values in words; by default made from the kind.
    """

    def accepts(value: Any) -> bool:
        fits = isinstance(value, tuple) and length in (None, len(value)) and len(value) >= least
        return fits and all(map(kind.accepts, value)) and not (distinct and len(set(value)) < len(value))

    def parse(words: Sequence[str]) -> tuple:
        if length not in (None, len(words)) or len(words) < least:
            raise ValueError
        return tuple(kind.parse([word]) for word in words)

    number = length or ("one or more" if least else "any number of")
    words = expected or f"{number} {'different ' if distinct else ''}values, each {kind.expected}"
    metavar = " ".join([kind.metavar] * (length or 1)) + ("" if length else " ...")
    return Kind(words, metavar, accepts, parse, None, kind.choices, kind.quoted)


def each(kind: Kind, owner: str) -> Kind:
    """One value for all layers, or a tuple with one value per layer.

    Args:
        kind: the kind of a value.
        owner: what has one: "layer" or "convolution".
    """

    def accepts(value: Any) -> bool:
        return all(map(kind.accepts, value)) if isinstance(value, tuple) else kind.accepts(value)

    def parse(words: Sequence[str]) -> Any:
        if not words:
            raise ValueError
        values = tuple(kind.parse([word]) for word in words)
        return values if len(values) > 1 else values[0]

    expected = f"{kind.expected}, or one value per {owner}"
    return Kind(expected, f"{kind.metavar} ...", accepts, parse, None, kind.choices, kind.quoted)
