"""Numbers as text."""

import math


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
