"""Pooling, and the positions of a window."""

from dataclasses import dataclass
from typing import Literal

from csnn_jax.errors import UserError

Pool = Literal["max", "avg", "sum", "none"]
Padding = Literal["same", "valid"]


@dataclass(frozen=True)
class Pooling:
    """The pooling between a convolution and its neurons, or after the neurons. Incomplete windows are dropped.

    Attributes:
        kind: `max`, `avg` or `sum`.
        size: height and width of a window, in pixels.
        stride: distance between windows, in pixels.
    """

    kind: Literal["max", "avg", "sum"]
    size: int = 2
    stride: int = 2

    def __post_init__(self):
        if self.kind != "max" and self.window & (self.window - 1):
            inexact = f"{self.kind} of {self.window} pixels isn't exact"
            raise UserError(f"--pool-size {self.size}: {inexact}, expected 2, 4 or 8")

    @property
    def window(self) -> int:
        """Pixels in a window."""
        return self.size**2

    @property
    def bits(self) -> int:
        """Extra bits that a sum over a window needs; 0 for a maximum."""
        return 0 if self.kind == "max" else (self.window - 1).bit_length()

    @property
    def step(self) -> float:
        """Pooling integers gives multiples of this."""
        return 1 / self.window if self.kind == "avg" else 1.0

    def shape(self, of: tuple[int, ...]) -> tuple[int, ...]:
        """The output shape for an input of (rows, columns, channels)."""
        *sizes, channels = of
        return (*map(self.positions, sizes), channels)

    def positions(self, length: int) -> int:
        """How many windows fit into `length` pixels."""
        return positions(length, self.size, self.stride)

    def __str__(self) -> str:
        apart = "" if self.stride == self.size else f" every {self.stride} pixels"
        return f"{self.size}x{self.size} {self.kind}{apart}"


def positions(length: int, window: int, stride: int) -> int:
    """How many positions a window has within a length; 0 if it doesn't fit."""
    return max(0, (length - window) // stride + 1)
