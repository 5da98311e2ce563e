"""Numbers as C99 reads them back to the bit, in arrays and tables, and text as it reads it back to the byte."""

from collections.abc import Iterator, Sequence

import numpy as np


def literal(value: np.floating | np.ndarray | float) -> str:
    """A float32 to its last bit: 0.1 is 0x1.99999ap-4f."""
    mantissa, exponent = float(np.float32(value)).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}f"


def array(kind: str, name: str, values: np.ndarray) -> Iterator[str]:
    """A constant array of floats, or of words if `values` are uint32, in pieces."""
    literals = list(map(_word if values.dtype == np.uint32 else literal, values.ravel()))
    yield f"\nstatic const {kind} {name}[{len(literals)}] = {{\n"
    for at in range(0, len(literals), 8):
        yield f"    {', '.join(literals[at : at + 8])},\n"
    yield "};\n"


def table(name: str, rows: Sequence[str]) -> str:
    """A constant array of structs."""
    return f"\nstatic const struct {name} = {{\n" + "".join(f"    {{{row}}},\n" for row in rows) + "};\n"


def string(text: str) -> str:
    """Text in UTF-8 as a string literal of ASCII that any compiler reads alike, whatever it takes sources to be in."""
    return '"' + "".join(map(_character, text.encode())) + '"'


def _character(byte: int) -> str:
    """A byte in a literal: escaped where it ends one, escapes, begins a trigraph (`?`), or isn't printable ASCII."""
    if chr(byte) in '"\\?':
        return f"\\{chr(byte)}"
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"  # three octal digits end, whatever follows


def _word(value: np.uint32) -> str:
    return f"0x{value:X}u"
