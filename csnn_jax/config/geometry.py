"""The geometry of a block: kernel, stride, padding and pooling, and every shape that follows from them.

Shapes and windows are computed only here; code that runs or writes a network reads them from its `Layer`s.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from csnn_jax.config.grid import Grid
from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import Neurons

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
        return _positions(length, self.size, self.stride)

    def __str__(self) -> str:
        apart = "" if self.stride == self.size else f" every {self.stride} pixels"
        return f"{self.size}x{self.size} {self.kind}{apart}"


@dataclass(frozen=True)
class Layer:
    """One block of the stack: convolution, pooling and neurons, or a linear layer and neurons.

    Attributes:
        name: name of its weights, `conv1`, `conv2`, ..., `fc1`, ...
        kind: `conv` or `linear`.
        in_shape: shape of its input without the batch, after `before`: (H, W, C) or (features,). A linear block
            flattens it, in H, W, C order.
        channels: output channels, or neurons of a linear block.
        kernel: height and width of a convolution's kernel, in pixels.
        stride: stride of the convolution, in pixels.
        padding: zeros on every side of the input, in pixels.
        pool: the pooling after the convolution; None: none.
        before: the pooling of the incoming spikes, if pools follow neurons; None: none.
        bias: whether each output channel has a bias.
        neurons: the neurons that receive its output as current.
        input_bits, input_step: the range and step of its input before any pooling, see `Grid`.
        weight_bits: maximum bits of a weight, including its sign; None: as many as stay exact.
    """

    name: str
    kind: Literal["conv", "linear"]
    in_shape: tuple[int, ...]
    channels: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    pool: Pooling | None = None
    before: Pooling | None = None
    bias: bool = True
    neurons: Neurons = field(kw_only=True)
    input_bits: int = 0
    input_step: float = 1.0
    weight_bits: int | None = None

    @property
    def conv_shape(self) -> tuple[int, ...]:
        """Shape before pooling: (rows, columns, channels), or (features,) for a linear block."""
        if self.kind == "linear":
            return (self.channels,)
        sizes = (_positions(n + 2 * self.padding, self.kernel, self.stride) for n in self.in_shape[:2])
        return (*sizes, self.channels)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of its membrane and spikes without the batch: (rows, columns, channels) or (features,)."""
        return self.pool.shape(self.conv_shape) if self.pool else self.conv_shape

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Shape of its weights in this package's layout: [k, k, in, out] or [in, out]."""
        if self.kind == "linear":
            return math.prod(self.in_shape), self.channels
        return self.kernel, self.kernel, self.in_shape[-1], self.channels

    @property
    def grid(self) -> Grid:
        """The grid that its weights are rounded to."""
        added = self.pool.bits if self.pool else 0
        most = None if self.weight_bits is None else self.weight_bits - 1
        bits, step = (self.before.bits, self.before.step) if self.before else (0, 1.0)
        entering = self.input_bits + bits, self.input_step * step
        return Grid(math.prod(self.kernel_shape[:-1]), *entering, added, most)

    @property
    def takes_spikes(self) -> bool:
        """Whether its weights multiply only 0 or 1 when spikes come in: not after average or sum pools."""
        return self.before is None or self.before.kind == "max"

    @property
    def operation(self) -> str:
        """The operations before the neurons, in words."""
        bias = "" if self.bias else ", no bias"
        before = f"pool {self.before}, " if self.before else ""
        if self.kind == "linear":
            return f"{before}linear{bias}"
        padded = f"padding {self.padding}" if self.padding else "no padding"
        pooled = f"pool {self.pool}" if self.pool else "no pool"
        return f"{before}kernel {self.kernel}, stride {self.stride}, {padded}, {pooled}{bias}"

    def __str__(self) -> str:
        return f"{self.name}: {self.operation}"


def _positions(length: int, window: int, stride: int) -> int:
    """How many positions a window has within a length; 0 if it doesn't fit."""
    return max(0, (length - window) // stride + 1)
