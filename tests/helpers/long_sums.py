"""Finds the long float sums that a compiled program leaves to XLA, by reading its optimized HLO."""

import math
import re
from collections.abc import Iterator

MOST = 128
"""No library splits sums of up to this many terms."""
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.*?) ([\w-]+)\((.*)$")
"""Name, type, operation, and the rest."""
OURS = re.compile(r'custom_call_target="csnn_')


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def long_sums(hlo: str) -> list[str]:
    """One line for each `dot`, `convolution` or float `reduce` of more than MOST terms, and each foreign library call.

    Sums on grids are exact in any order; they have the scope `exact` in their name and aren't in a backward pass.
    """
    return [f"{kind} of {terms} terms: {name}" for kind, terms, name in _sums(hlo) if terms > MOST]


def _sums(hlo: str) -> Iterator[tuple[str, float, str]]:
    instructions = [match.groups() for line in hlo.splitlines() if (match := INSTRUCTION.match(line))]
    shapes = {
        name: numbers(shape[1]) for name, kind, *_ in instructions if (shape := re.match(r"\w+\[([\d,]*)\]", kind))
    }
    adders = _adders(hlo)
    for _, kind, operation, rest in instructions:
        scope = (re.search(r'op_name="([^"]*)"', rest) or ["", ""])[1]
        if re.search(r"[/(]exact[/)]", scope) and "transpose(" not in scope:
            continue
        operands = [shapes.get(name, []) for name in re.findall(r"%([\w.-]+)", rest.split("), ")[0])]
        terms = math.inf
        if operation == "dot":
            terms = math.prod(operands[0][axis] for axis in _axes("lhs_contracting_dims", rest))
        elif operation == "convolution":
            labels = re.search(r"dim_labels=\w+_(\w+)->", rest)
            assert labels
            terms = math.prod(size for size, label in zip(operands[1], labels[1], strict=True) if label != "o")
        elif operation in ("reduce", "reduce-window") and kind.startswith(("f", "bf")):
            if (adds := re.search(r"to_apply=%?([\w.-]+)", rest)) and adds[1] not in adders:
                continue
            window = re.search(r"window=\{size=([\dx]+)", rest)
            axes = _axes("dimensions", rest)
            terms = math.prod(map(int, window[1].split("x"))) if window else math.prod(operands[0][a] for a in axes)
        elif operation != "custom-call" or OURS.search(rest):
            continue
        yield operation, terms, scope


def _axes(name: str, text: str) -> list[int]:
    match = re.search(rf"{name}={{([\d,]*)}}", text)
    return numbers(match[1]) if match else []


def _adders(hlo: str) -> set[str]:
    """The computations other than maximum and minimum."""
    computations = re.findall(r"^%?([\w.-]+) \([^\n]*\{\n(.*?)^\}", hlo, re.M | re.S)
    return {name for name, body in computations if not re.search(r"ROOT \S+ = \S+ (maximum|minimum)\(", body)}
