"""Writes numbers, arrays, tables and strings as C99 that compilers read back exactly, and identifiers."""

import re
from collections.abc import Iterable, Iterator

import numpy as np

PREFIX = "csnn"
"""What external names, types and macros of the program start with, if nothing else is chosen."""


def literal(value: np.floating | np.ndarray | float) -> str:
    """A float32, exact: 0.1 is 0x1.99999ap-4f."""
    mantissa, exponent = float(np.float32(value)).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}f"


def array(kind: str, name: str, values: np.ndarray) -> Iterator[str]:
    """A constant array of floats (words if `values` are uint32), in pieces."""
    literals = list(map("0x{:X}u".format if values.dtype == np.uint32 else literal, values.ravel()))
    yield f"\nstatic const {kind} {name}[{len(literals)}] = {{\n"
    for at in range(0, len(literals), 8):
        yield f"    {', '.join(literals[at : at + 8])},\n"
    yield "};\n"


def table(name: str, rows: Iterable[str]) -> str:
    """A constant array of structs."""
    return f"\nstatic const struct {name} = {{\n" + "".join(f"    {{{row}}},\n" for row in rows) + "};\n"


def identifiers(names: Iterable[str]) -> list[str]:
    """Different identifiers for the names of nodes, which may contain `-`; `csnn_weight` would be a type."""
    made = ["csnn"]
    for name in names:
        identifier = name.replace("-", "_")
        while identifier in made:
            identifier += "_"
        made.append(identifier)
    return made[1:]


def prefixed(code: str, prefix: str) -> str:
    """C whose identifiers start with another prefix: csnn_step is then PREFIX_step, and CSNN_STATES is in capitals."""
    words = {"csnn": prefix, "CSNN": prefix.upper()}
    return re.sub(r"(?:\b|(?<=-D))(csnn|CSNN)(?=_\w)", lambda match: words[match[0]], code)


def is_prefix(text: str) -> bool:
    """Whether a text can start C's identifiers. Of longer ones, compilers may ignore all but 31 characters."""
    return re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,14}", text) is not None


def string(text: str) -> str:
    """UTF-8 text as an ASCII string literal, which doesn't depend on the compiler's source encoding."""
    return '"' + "".join(map(_character, text.encode())) + '"'


def _character(byte: int) -> str:
    """A byte in a string literal; quotes, backslashes, `?` (trigraphs) and nonprintable characters are escaped."""
    if chr(byte) in '"\\?':
        return f"\\{chr(byte)}"
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"  # C reads at most three octal digits
