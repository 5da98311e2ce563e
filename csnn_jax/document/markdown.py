"""Tables and numbers for reports."""

import math
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of text cells; bars inside cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def two_digits(value: float) -> str:
    """A positive number with two significant digits: 0.070, 8.9, 34, 110."""
    rounded = float(f"{value:.2g}")
    places = 1 - math.floor(math.log10(rounded)) if rounded > 0 else 0
    return f"{rounded:.{max(0, places)}f}"
