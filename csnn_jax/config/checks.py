"""Checks a configuration's values; errors name the flag, the value and what was expected."""

import math
import re
import sys
import unicodedata
from dataclasses import fields
from typing import Any, get_args

import numpy as np

from csnn_jax.errors import UserError, one_line


def settle(config: Any) -> None:
    """Normalizes a frozen dataclass's fields: lists become tuples, NumPy numbers and arrays become Python's."""
    for f in fields(config):
        object.__setattr__(config, f.name, _plain(getattr(config, f.name)))


def _plain(value: Any) -> Any:
    value = _of_python(value)
    return tuple(map(_of_python, value)) if isinstance(value, list | tuple) else value


def _of_python(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def check(flag: str, value: object, expected: str, ok: bool) -> None:
    if not ok:
        other = re.search("number|power of two|true or false", expected) is not None
        raise UserError(f"{flag} {show(value, quoting=other)}: expected {expected}")


def show(value: object, quoting: bool = False) -> str:
    """A value as part of one line: short, without control characters, and with text in quotes if `quoting`."""
    try:
        parts = value if isinstance(value, tuple) else (value,)
        text = " ".join(repr(part) if quoting and isinstance(part, str) else _plainly(part) for part in parts)
    except ValueError:  # an integer with more digits than Python converts
        text = "(thousands of digits)"
    return one_line(text)


def _plainly(value: object) -> str:
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def check_choice(flag: str, value: object, literal: Any) -> None:
    check(flag, value, "one of " + ", ".join(get_args(literal)), value in get_args(literal))


def is_count(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**64


def is_counts(values: object) -> bool:
    return isinstance(values, tuple) and all(is_count(v) for v in values)


def is_class_name(value: object) -> bool:
    """Whether a value can name a class in lines of text: without controls, and not `-`, which means none."""
    return isinstance(value, str) and value not in ("", "-") and is_plain(value) and _encodes(value)


def is_plain(text: str) -> bool:
    """Whether text neither breaks lines, nor controls a terminal, nor overrides the direction of text like U+202E."""
    breaking = {"Cc", "Zl", "Zp"}  # control characters, line and paragraph separators
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return not any(unicodedata.category(c) in breaking or unicodedata.bidirectional(c) in turning for c in text)


def _encodes(text: str) -> bool:
    """Whether text can be written; some file names can't."""
    return not any(unicodedata.category(c) == "Cs" for c in text)


def is_number(value: object, above: float = -math.inf) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and above < value <= sys.float_info.max
