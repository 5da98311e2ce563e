"""The grid of a layer's weights, on which its sums are exact in float32 (docs/design.md, section 2).

Imports no framework: `Grid.round` computes in NumPy, JAX or torch, depending on its arguments, with the same results.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

MANTISSA = 24
"""Bits of the integers that float32 represents without gaps."""
BIAS = 8
"""Room for a bias, in multiples of the largest weight times the largest input; a larger bias makes the grid coarser."""
FEW, EXTRA = 8, 4
"""A layer with fewer than `FEW` bits gets up to `EXTRA` more per neuron, as long as that neuron's sum fits."""
LEAST = 4
"""Fewest bits of a weight for which a network can be created."""
COARSE = 4
"""With fewer bits than this, the grid that follows from the largest weight is a poor choice."""
FEWEST, WIDEST = 2, 8
"""Smallest and largest value of `weight_bits`, which includes the sign."""
SMALLEST = -60
"""Exponent of the largest weight below which the grid gets no finer, so the step of a sum stays above 2^-100."""
LARGEST = 30
"""Exponent that limits a weight times the step of its inputs, so currents stay below 2^50 and membranes below 2^100."""
MOST_INPUT = 12
"""Maximum bits of a network's input."""


def is_power_of_two(value: float) -> bool:
    """Returns whether a value is a power of two from 2^-16 to 2^20, the valid scales of inputs."""
    return 2.0**-16 <= value <= 2.0**20 and math.frexp(value)[0] == 0.5


@dataclass(frozen=True)
class Grid:
    """How finely a layer's weights can be rounded while float32 still represents every partial sum exactly.

    Attributes:
        terms: number of products of a weight and an input in a neuron's sum.
        input_bits: inputs are integer multiples of `input_step`, from 0 to 2^input_bits.
        input_step: a power of two.
        added: extra bits for the sum or average over a pooling window that follows: 2 for 2x2.
        most: maximum bits of a weight, without its sign; None: as many as stay exact.
    """

    terms: int
    input_bits: int = 0
    input_step: float = 1.0
    added: int = 0
    most: int | None = None

    @property
    def room(self) -> int:
        """Bits of a weight, without its sign, that stay exact for any weights."""
        return MANTISSA - self.input_bits - (self.terms + BIAS - 1).bit_length() - self.added

    @property
    def bits(self) -> int:
        """Bits of a weight, without its sign, for any weights: `room`, limited to `most`."""
        return self.room if self.most is None else min(self.room, self.most)

    @property
    def finest(self) -> int:
        """Bits that a neuron's weights can have, without the sign, if its own sum leaves room for them."""
        extra = EXTRA if self.most is None else min(EXTRA, self.most - self.bits)
        return self.bits + (extra if self.room < FEW else 0)

    @property
    def chosen(self) -> bool:
        """Whether there are so few bits that `choose` picks each neuron's exponent, stored with its weights."""
        return self.bits < COARSE

    @property
    def largest_exponent(self) -> int:
        """The largest exponent of a neuron's grid; its weights are below 2 to this power."""
        return LARGEST - round(math.log2(self.input_step))

    @property
    def below(self) -> tuple[float, float]:
        """The magnitudes that weights and biases must stay below."""
        return 2.0**self.largest_exponent, BIAS * 2.0 ** (self.input_bits + LARGEST)

    def round(self, kernel: Any, bias: Any, xp: ModuleType = np, exponents: Any = None) -> tuple[Any, Any]:
        """Rounds a layer's weights and biases to the grids of its neurons, half to even. It's idempotent.

        A neuron's grid is 2^-k, where k depends only on its largest weight (or its bias, if that needs more room) and
        on the layer's shape, never on an order of summation. Biases also use the bits that weights leave unused.

        Args:
            kernel: [..., out], float32 or float64.
            bias: [out].
            xp: `numpy`, `jax.numpy` or `torch`, matching the arrays.
            exponents: of the neurons' grids, integers [out]; None: from the largest weights.

        Returns:
            kernel and bias, of the same types. Values that aren't finite become NaN.
        """
        flat = kernel.reshape(-1, kernel.shape[-1])
        exponent = self._largest(flat, bias, xp) if exponents is None else exponents
        spare = self.room - self.bits
        for_bias = 2.0**spare / self.input_step
        one = xp.ones_like(bias)

        def scaled(extra: int) -> tuple[Any, Any, Any]:
            """Weights and biases as integer multiples of a grid with `extra` more bits, and the grid's steps."""
            bits, k = self.bits + extra, self.bits + extra - exponent
            scale, top = xp.ldexp(one, k), BIAS * 2.0 ** (bits + spare + self.input_bits) - 1
            units = xp.clip(xp.round(flat * scale), 1 - 2.0**bits, 2.0**bits - 1)
            offset = xp.clip(xp.round(bias * scale * for_bias), -top, top)
            return units, offset, xp.ldexp(one, -k)

        units, offset, step = scaled(0)
        for extra in range(1, self.finest - self.bits + 1):
            finer = scaled(extra)
            # In any order, integers add up exactly below 2^24, and sums that reach it never round below it.
            sums = xp.sum(abs(finer[0]), 0) * 2.0**self.input_bits + abs(finer[1])
            fits = sums < 2.0 ** (MANTISSA - self.added)
            units, offset, step = (
                xp.where(fits, new, old) for new, old in zip(finer, (units, offset, step), strict=True)
            )
        rounded = xp.where(xp.isfinite(flat), units * step + 0.0, xp.nan)
        biases = xp.where(xp.isfinite(bias), offset * step * (1 / for_bias) + 0.0, xp.nan)
        return rounded.reshape(kernel.shape), biases

    def steps(self, kernel: np.ndarray, bias: np.ndarray, exponents: np.ndarray | None = None) -> np.ndarray:
        """The steps of the neurons' grids, powers of two: rounded weights are multiples of them, below 2^`finest`.

        Args:
            kernel: as returned by `round`, [..., out].
            bias: likewise, [out].
            exponents: as in `round`.

        Returns:
            float32 [out].
        """
        exponent = self._largest(kernel.reshape(-1, kernel.shape[-1]), bias, np) if exponents is None else exponents
        return np.ldexp(np.float32(1), np.asarray(exponent, np.int32) - self.finest)

    def choose(self, kernel: Any, bias: Any, xp: ModuleType = np, add_up: Callable[..., Any] | None = None) -> Any:
        """Chooses the exponents of the neurons' grids with the least squared error, from four candidates.

        With few bits, a finer grid represents most weights better, at the cost of clipping the largest. The candidates
        end at the exponent of the largest weight.

        Args:
            kernel: [..., out].
            bias: [out]; the grid stays coarse enough to represent it.
            xp: as in `round`.
            add_up: (squared errors [inputs, out], 0) -> their sums [out]; None: NumPy's, in float64.

        Returns:
            Integers [out]; the largest exponent in case of a tie.
        """
        flat = kernel.reshape(-1, kernel.shape[-1])
        largest = self._largest(flat, bias, xp)
        least = xp.where(bias == 0, SMALLEST, self._largest(0 * flat[:1], bias, xp))  # 0 would have an exponent of 0
        unit = xp.ldexp(xp.ones_like(bias), -xp.minimum(largest, xp.full_like(largest, 126)))  # squares don't overflow

        def error(exponents: Any) -> Any:
            missed = (self.round(flat, bias, xp, exponents)[0] - flat) * unit
            squares = missed * missed
            return np.sum(squares, 0, dtype=np.float64) if add_up is None else add_up(squares, 0)

        best, errors = largest, error(largest)
        for lower in range(1, 4):
            finer = xp.maximum(largest - lower, least)
            missed = error(finer)
            best, errors = xp.where(missed < errors, finer, best), xp.minimum(missed, errors)
        return best

    def _largest(self, flat: Any, bias: Any, xp: ModuleType) -> Any:
        """Exponents of the powers of two above each neuron's largest weight, or as its bias needs; at least -60."""
        widest = BIAS * 2.0**self.input_bits * self.input_step
        exponent = xp.frexp(xp.maximum(xp.amax(abs(flat), 0), abs(bias) * (1 / widest)))[1]
        return xp.where(exponent < SMALLEST, SMALLEST, exponent)  # those of NaN and infinity don't matter
