"""What nodes of a graph compute, besides neurons: convolutions, linear layers, pools."""

import math
from dataclasses import dataclass
from typing import Literal

Pool = Literal["max", "avg", "sum", "none"]
Padding = Literal["same", "valid"]


@dataclass(frozen=True)
class Convolution:
    """A convolution of rows, columns and channels: a current.

    Attributes:
        channels: output channels.
        kernel: height and width of the kernel, in pixels.
        stride: distance between its positions, in pixels.
        padding: zeros on every side of the input, in pixels.
        bias: whether each output channel has a bias.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = True

    def shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The output shape."""
        padded = (size + 2 * self.padding for size in entering[:2])
        return (*(_positions(size, self.kernel, self.stride) for size in padded), self.channels)

    def kernel_shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of its weights, [k, k, in, out]."""
        return self.kernel, self.kernel, entering[-1], self.channels


@dataclass(frozen=True)
class Linear:
    """A product of features with a matrix: a current.

    Attributes:
        channels: output features.
        bias: whether each has a bias.
    """

    channels: int
    bias: bool = True

    def shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The output shape."""
        return (self.channels,)

    def kernel_shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of its weights, [in, out]."""
        return entering[-1], self.channels


@dataclass(frozen=True)
class OneToOne:
    """One weight for each feature: a current. snnTorch calls it V.

    Attributes:
        channels: features.
        bias: whether each has a bias.
    """

    channels: int
    bias: bool = False

    def shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The output shape."""
        return (self.channels,)

    def kernel_shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of its weights, [features]."""
        return (self.channels,)


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

    @property
    def window(self) -> int:
        """Pixels in a window."""
        return self.size**2

    @property
    def is_exact(self) -> bool:
        """Whether all frameworks compute the same: averages and sums only of a power of two pixels."""
        return self.kind == "max" or not self.window & (self.window - 1)

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
        return _positions(length, self.size, self.stride)

    def __str__(self) -> str:
        apart = "" if self.stride == self.size else f" every {self.stride} pixels"
        return f"{self.size}x{self.size} {self.kind}{apart}"


@dataclass(frozen=True)
class Flatten:
    """Rows, columns and channels as features, in this order."""

    def shape(self, entering: tuple[int, ...]) -> tuple[int, ...]:
        """The output shape."""
        return (math.prod(entering),)


def _positions(length: int, window: int, stride: int) -> int:
    """How many positions a window has within a length; 0 if it doesn't fit."""
    return max(0, (length - window) // stride + 1)


Weighted = Convolution | Linear | OneToOne
