"""Every option of every command: its range is what its message says, and its words, JSON and value say the same."""

import json
import math
import re
from typing import Any

import pytest
from reference.flags import COMMANDS
from refusals import refusing

from csnn_jax.config import DataConfig, ModelConfig, TrainConfig
from csnn_jax.errors import UserError, naming_flags
from csnn_jax.options import Option, options_of, words_of
from csnn_jax.options.parser import given_options

TABLE = {
    f"{kind.__name__}.{one.name}": (kind, one)
    for kind in (DataConfig, ModelConfig, TrainConfig, *COMMANDS.values())
    for one in options_of(kind)
}
SAMPLE = {int: 3, float: 0.25, str: "x"}
LIMIT = re.compile(r"(at least|at most|from|above|to below|below|to) (2\*\*63|2\^-?\d+|[\d.,]*\d)")


def number(text: str) -> float:
    base, _, power = text.replace("**", "^").partition("^")
    value = float(base.replace(",", ""))
    return value ** int(power) if power else value


def is_text(one: Option) -> bool:
    return not one.kind.quoted and not one.kind.choices


def edges(one: Option) -> tuple[list[Any], list[Any]]:
    """Values at the limits that an option's message states: (valid, invalid)."""
    if is_text(one):
        return [], []
    whole = "whole number" in one.kind.expected
    positive = "positive number" in one.kind.expected
    valid: list[Any] = [1e-40] if positive else []
    invalid: list[Any] = [0, 0.0, -1] if positive else []
    for word, text in LIMIT.findall(one.kind.expected):
        limit, open_end = number(text), word.endswith(("above", "below"))
        upper = word.endswith(("below", "most")) or word == "to"
        step = 1 if whole else max(abs(limit) * 1e-6, 1e-40)  # 1e-6: thresholds are compared in float32
        limit = int(limit) if whole else limit
        inside, outside = limit - step, limit + step
        inside, outside = (inside, outside) if upper else (outside, inside)
        valid.append(inside if open_end else limit)
        invalid.append(limit if open_end else outside)
    return valid, invalid


def wrong(one: Option) -> list[Any]:
    """Values that an option refuses: beyond its limits, of another type, or none of its words."""
    return [*edges(one)[1], b"x", object(), *([] if is_text(one) else ["no such value", math.nan])]


def right(one: Option) -> list[Any]:
    """Values that an option accepts by itself."""
    values = [*edges(one)[0], *one.kind.choices]
    if one.kind.words == 0:
        values = [True, False]
    elif "three" in one.kind.expected or "3 values" in one.kind.expected:
        values = [(1, 1, 1)]
    return [(value,) if one.kind.words is None and not one.kind.accepts(value) else value for value in values]


def made(kind: type, one: Option, value: Any) -> Any:
    """An instance with one option set, and all that are required."""
    needed = {
        other.name: ("x",) if other.kind.words is None else "x" for other in options_of(kind) if other.is_required()
    }
    return kind(**needed | {one.name: value})


@pytest.mark.parametrize("name", TABLE)
def test_an_option_refuses_what_its_message_excludes(name: str) -> None:
    kind, one = TABLE[name]
    for value in wrong(one):
        with (
            refusing(UserError, one.name if one.positional is False else one.flag, "expected") as caught,
            naming_flags(),
        ):
            made(kind, one, value)
        assert one.kind.expected in caught.value.args[0] and caught.value.args[0].startswith(one.flag)


@pytest.mark.parametrize("name", TABLE)
def test_an_option_accepts_what_its_message_includes(name: str) -> None:
    kind, one = TABLE[name]
    for value in right(one):
        assert one.kind.accepts(value), value
        try:
            made(kind, one, value)
        except UserError as error:  # a rule between options
            assert one.kind.expected not in error.args[0]


@pytest.mark.parametrize("name", TABLE)
def test_a_command_line_gives_the_value_it_spells(name: str) -> None:
    _, one = TABLE[name]
    if one.has_flag and not one.positional:
        for value in right(one):
            assert given_options([one], "x", "", words_of(one.name, value)) == {one.name: value}
            restored = json.loads(json.dumps(value))
            assert value == (tuple(restored) if isinstance(restored, list) else restored)


def test_the_table_is_complete() -> None:
    """Few options have neither limits nor words, and each of those takes a name, a path or text."""
    free = [name for name, (_, one) in TABLE.items() if not right(one) and one.kind.quoted]
    assert len(TABLE) > 150 and free == ["ConvertFlags.normalize"]
