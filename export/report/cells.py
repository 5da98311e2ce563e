"""Numbers and tables for a reader."""

from collections.abc import Iterable, Sequence
from typing import Any

from csnn_jax import markdown


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; numbers are shown with thousands separated, None as a dash."""
    return markdown.table(head, ([_cell(value) for value in row] for row in rows))


def size(count: int) -> str:
    """A number of bytes for a reader."""
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def percent(share: float | None) -> str:
    """A share of 0 to 1 for a reader."""
    return "-" if share is None else f"{share:.2%}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("\n", " ")
