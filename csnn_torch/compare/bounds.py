"""A bound of the comparison: what was measured, and what it may be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One bound.

    Attributes:
        name: what is bounded, in words.
        value: what was measured.
        low, high: it holds where low <= value <= high.
    """

    name: str
    value: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether the value is within the bound; NaN is not."""
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        bound = f"at most {self.high:g}" if self.low == 0 else f"{self.low:g} to {self.high:g}"
        return f"{self.name}: {self.value:g}, expected {bound}"
