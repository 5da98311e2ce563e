"""Numbers and classes as text."""

import math
from collections.abc import Sequence


def percent(share: float | None) -> str:
    """A fraction, 0 to 1, as a percentage."""
    return "-" if share is None else f"{share:.2%}"


def three_digits(value: float | None) -> str:
    """A number with three significant digits."""
    return "-" if value is None else f"{value:.3g}"


def two_digits(value: float) -> str:
    """A positive number with two significant digits: 0.070, 8.9, 34, 110."""
    rounded = float(f"{value:.2g}")
    places = 1 - math.floor(math.log10(rounded)) if rounded > 0 else 0
    return f"{rounded:.{max(0, places)}f}"


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 image, 2 images."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def class_of(number: int, names: Sequence[str]) -> str:
    """A class's number, and its name if it has one."""
    return str(number) if names[number] == str(number) else f"{number} ({names[number]})"


def size(count: int) -> str:
    """A number of bytes with a unit."""
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def measured(share: float | None, images: int) -> str:
    """An accuracy with its 95% confidence interval for this number of images."""
    if share is None:
        return "-"
    low, high = interval(share, images)
    return f"{share:.2%} ({100 * low:.1f} to {100 * high:.1f})"


def interval(share: float, count: int) -> tuple[float, float]:
    """The 95% confidence interval of a fraction measured on `count` images (Wilson, 1927)."""
    z = 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)
