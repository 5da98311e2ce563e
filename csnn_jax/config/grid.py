"""The grid of a layer's weights, on which its sums are exact in float32 (docs/design.md, section 2).

Imports no framework: `Grid.round` computes in NumPy, JAX or torch, whichever it's given, and all find the same values.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

MANTISSA = 24
"""Bits of the whole numbers that float32 represents one after another."""
BIAS = 8
"""Room for a bias, in multiples of the largest weight times the largest input; a larger one makes the grid coarser."""
FEW, EXTRA = 8, 4
"""A layer with fewer bits than the first gets up to the second more per neuron, as far as the neuron's own sum fits."""
LEAST = 4
"""Bits without which no network is made."""
COARSE = 4
"""With fewer bits than this, the grid of the largest weight is a poor choice."""
FEWEST, WIDEST = 2, 8
"""Bits of a weight, with its sign, that may be asked for."""
SMALLEST = -60
"""Exponent of the largest weight below which a grid gets no finer: a sum's step stays above 2^-100."""
MOST_INPUT = 12
"""Bits of a network's input."""


def is_power_of_two(value: float) -> bool:
    """Whether inputs may be multiples of this, or of one part in this: 2^-16 to 2^20."""
    return 2.0**-16 <= value <= 2.0**20 and math.frexp(value)[0] == 0.5


@dataclass(frozen=True)
class Grid:
    """How finely the weights of a layer may be chosen, for float32 to represent each of its partial sums.

    Attributes:
        terms: the products of a weight and an input that a neuron adds.
        input_bits: inputs are whole multiples of `input_step`, and at most 2^input_bits of them.
        input_step: a power of two.
        added: bits that a sum or average over a pool's window needs after it: 2 for 2x2.
        most: bits of a weight without its sign, where fewer are wanted than stay exact; None: those that do.
    """

    terms: int
    input_bits: int = 0
    input_step: float = 1.0
    added: int = 0
    most: int | None = None

    @property
    def room(self) -> int:
        """Bits of a weight without its sign that stay exact, whatever the weights are."""
        return MANTISSA - self.input_bits - (self.terms + BIAS - 1).bit_length() - self.added

    @property
    def bits(self) -> int:
        """Bits of a weight without its sign, whatever the weights are."""
        return self.room if self.most is None else min(self.room, self.most)

    @property
    def finest(self) -> int:
        """Bits that a neuron's weights may get, without the sign, where its own sum leaves room."""
        wanted = EXTRA if self.most is None else min(EXTRA, self.most - self.bits)
        return self.bits + (wanted if self.room < FEW else 0)

    @property
    def chosen(self) -> bool:
        """Whether bits are so few that a neuron's exponent is chosen, see `choose`, and kept with its weights."""
        return self.bits < COARSE

    def round(self, kernel: Any, bias: Any, xp: ModuleType = np, exponents: Any = None) -> tuple[Any, Any]:
        """Rounds a layer's weights and biases to the grids of its neurons, half to even. Twice is once.

        A neuron's grid is 2^-k with k from its largest weight, or from its bias if that needs more room, and the shape
        of the layer alone: nothing depends on an order of summation. Biases have the bits that weights don't use.

        Args:
            kernel: [..., out], float32 or float64.
            bias: [out].
            xp: `numpy`, `jax.numpy` or `torch`, of whose arrays these are.
            exponents: of the neurons' grids [out], whole numbers; None: those of the largest weights.

        Returns:
            kernel and bias, of the same types. What isn't finite becomes NaN.
        """
        flat = kernel.reshape(-1, kernel.shape[-1])
        exponent = self._largest(flat, bias, xp) if exponents is None else exponents
        spare = self.room - self.bits
        for_bias = 2.0**spare / self.input_step
        one = xp.ones_like(bias)

        def scaled(extra: int) -> tuple[Any, Any, Any]:
            """Weights and biases as whole multiples of the grid that has so many more bits, and that grid."""
            bits, k = self.bits + extra, self.bits + extra - exponent
            scale, top = xp.ldexp(one, k), BIAS * 2.0 ** (bits + spare + self.input_bits) - 1
            units = xp.clip(xp.round(flat * scale), 1 - 2.0**bits, 2.0**bits - 1)
            offset = xp.clip(xp.round(bias * scale * for_bias), -top, top)
            return units, offset, xp.ldexp(one, -k)

        units, offset, step = scaled(0)
        for extra in range(1, self.finest - self.bits + 1):
            finer = scaled(extra)
            # Whole numbers add up exactly below 2^24, and to no less than that where they reach it, in any order.
            sums = xp.sum(abs(finer[0]), 0) * 2.0**self.input_bits + abs(finer[1])
            fits = sums < 2.0 ** (MANTISSA - self.added)
            units, offset, step = (
                xp.where(fits, new, old) for new, old in zip(finer, (units, offset, step), strict=True)
            )
        rounded = xp.where(xp.isfinite(flat), units * step + 0.0, xp.nan)
        biases = xp.where(xp.isfinite(bias), offset * step * (1 / for_bias) + 0.0, xp.nan)
        return rounded.reshape(kernel.shape), biases

    def steps(self, kernel: np.ndarray, bias: np.ndarray, exponents: np.ndarray | None = None) -> np.ndarray:
        """Powers of two, float32 [out], of which a layer's rounded weights are whole multiples below 2^`finest`.

        Args:
            kernel: as `round` gives it, [..., out].
            bias: likewise, [out].
            exponents: as in `round`.
        """
        exponent = self._largest(kernel.reshape(-1, kernel.shape[-1]), bias, np) if exponents is None else exponents
        return np.ldexp(np.float32(1), np.asarray(exponent, np.int32) - self.finest)

    def choose(self, kernel: Any, bias: Any, xp: ModuleType = np, add_up: Callable[..., Any] | None = None) -> Any:
        """The exponents of the neurons' grids with the least squared error, of four up to that of the largest weight.

        With few bits, most weights are better off on a finer grid, at the price of those that it cuts off.

        Args:
            kernel: [..., out].
            bias: [out]; the grid stays coarse enough for it.
            xp: as in `round`.
            add_up: (squared errors [inputs, out], 0) -> their sums [out]; None: NumPy's, in float64.

        Returns:
            [out], whole numbers; the largest of equally good ones.
        """
        flat = kernel.reshape(-1, kernel.shape[-1])
        largest = self._largest(flat, bias, xp)
        least = xp.where(bias == 0, SMALLEST, self._largest(0 * flat[:1], bias, xp))  # 0 would have an exponent of 0

        def error(exponents: Any) -> Any:
            missed = self.round(flat, bias, xp, exponents)[0] - flat
            squares = missed * missed
            return np.sum(squares, 0, dtype=np.float64) if add_up is None else add_up(squares, 0)

        best, errors = largest, error(largest)
        for lower in range(1, 4):
            finer = xp.maximum(largest - lower, least)
            missed = error(finer)
            best, errors = xp.where(missed < errors, finer, best), xp.minimum(missed, errors)
        return best

    def _largest(self, flat: Any, bias: Any, xp: ModuleType) -> Any:
        """Exponents x of the powers of two above each neuron's largest weight, or what its bias needs, at least -60."""
        widest = BIAS * 2.0**self.input_bits * self.input_step
        exponent = xp.frexp(xp.maximum(xp.amax(abs(flat), 0), abs(bias) * (1 / widest)))[1]
        return xp.where(exponent < SMALLEST, SMALLEST, exponent)  # NaN's and infinity's make no difference
