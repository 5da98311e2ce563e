"""The grid of a layer's weights, on which its sums are exact in float32 (docs/design.md, section 2).

Imports no framework: `Grid.round` computes in NumPy, JAX or torch, depending on its arguments, with the same results.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence
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
        total: number of products in the largest sum that they enter together with those of other layers, with room for
            biases; 0: they meet no others.
        fewest: the fewest bits of a weight in the layers of that sum; None: this layer's.
    """

    terms: int
    input_bits: int = 0
    input_step: float = 1.0
    added: int = 0
    most: int | None = None
    total: int = 0
    fewest: int | None = None

    @property
    def products(self) -> int:
        """Bits of a product: as many as float32 has, without those that the number of products needs."""
        return MANTISSA - ((self.total or (self.terms + BIAS) << self.added) - 1).bit_length()

    @property
    def room(self) -> int:
        """Bits of a weight, without its sign, that stay exact for any weights."""
        return self.products - self.input_bits

    @property
    def bits(self) -> int:
        """Bits of a weight, without its sign, for any weights: `room`, limited to `most`."""
        return self.finer(0)

    def finer(self, extra: int) -> int:
        """Bits of a weight, without its sign, if a neuron's own sum leaves room for `extra` more."""
        return self.room + extra if self.most is None else min(self.room + extra, self.most)

    @property
    def extra(self) -> int:
        """Bits that a neuron's weights can have beyond `bits`, if its own sum leaves room for them."""
        return self.finer(EXTRA) - self.bits if (self.room if self.fewest is None else self.fewest) < FEW else 0

    @property
    def finest(self) -> int:
        """The most bits that a neuron's weights can have, without the sign."""
        return self.bits + self.extra

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

    @property
    def input_exponent(self) -> int:
        """The power of two that no input exceeds."""
        return self.input_bits + round(math.log2(self.input_step))

    def round(self, kernel: Any, bias: Any, xp: ModuleType = np, exponents: Any = None) -> tuple[Any, Any]:
        """Rounds a layer's weights and biases, if no other products enter its sums, see `Group.round`."""
        ((rounded, biases),) = Group((self,), ((2**self.added,),)).round([(kernel, bias)], xp, [exponents])
        return rounded, biases

    def choose(self, kernel: Any, bias: Any, xp: ModuleType = np, add_up: Callable[..., Any] | None = None) -> Any:
        """Chooses the exponents of the neurons' grids with the least squared error, from four candidates.

        With few bits, a finer grid represents most weights better, at the cost of clipping the largest. The candidates
        end at the exponent of the largest weight.

        Args:
            kernel: [..., out].
            bias: [out]; the grid stays coarse enough to represent it.
            xp: as in `Group.round`.
            add_up: (squared errors [inputs, out], 0) -> their sums [out]; None: NumPy's, in float64.

        Returns:
            Integers [out]; the largest exponent in case of a tie.
        """
        flat = kernel.reshape(-1, kernel.shape[-1])
        largest, least = self.exponents(flat, bias, xp), self.exponents(0 * flat[:1], bias, xp)
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

    def exponents(self, flat: Any, bias: Any, xp: ModuleType) -> Any:
        """Exponents of the powers of two above each neuron's largest weight, or as its bias needs; at least -60.

        Args:
            flat: weights [inputs, out].
            bias: [out].
            xp: as in `Group.round`.
        """
        size = xp.maximum(xp.amax(abs(flat), 0), abs(bias) * (1 / (BIAS * 2.0**self.input_exponent)))
        exponent = xp.frexp(size)[1]  # those of NaN and infinity don't matter
        return xp.where((exponent < SMALLEST) | (size == 0), SMALLEST, exponent)


@dataclass(frozen=True)
class Group:
    """The grids of layers whose products meet in a sum, so they're multiples of one unit.

    docs/design.md, section 2, has the theorem. A neuron's unit is u = 2^(X - P), where 2^X is at least the largest
    weight times input of any of the layers, and P the fewest `Grid.products`. Weights of a layer are multiples of u
    divided by the step of its inputs.

    Attributes:
        grids: one for each layer.
        sums: how often each layer's products count in each of the sums.
    """

    grids: tuple[Grid, ...]
    sums: tuple[tuple[int, ...], ...]

    @property
    def products(self) -> int:
        """Bits of the integers that all sums consist of."""
        return min(grid.products for grid in self.grids)

    def round(
        self, layers: Sequence[tuple[Any, Any]], xp: ModuleType = np, exponents: Sequence[Any] | None = None
    ) -> list[tuple[Any, Any]]:
        """Rounds weights and biases to the grids of their neurons, half to even. It's idempotent.

        A neuron's grid is 2^-k, where k depends only on its largest weights (or its bias, if that needs more room) and
        on the layers' shapes, never on an order of summation. Biases also use the bits that weights leave unused.

        Args:
            layers: the kernel [..., out] and bias [out] of each layer, float32 or float64.
            xp: `numpy`, `csnn_jax.network.floats` (or `jax.numpy`) or `torch`, matching the arrays.
            exponents: of the neurons' grids of each layer, integers [out]; None: from the largest weights.

        Returns:
            Kernels and biases, of the same types. Values that aren't finite become NaN.
        """
        flat = [(kernel.reshape(-1, kernel.shape[-1]), bias) for kernel, bias in layers]
        largest, reach, own = self._exponents(flat, xp, exponents)
        one = xp.ones_like(flat[0][1])

        def scaled(extra: int) -> list[Any]:
            """1 / u with `extra` more bits, and for each layer its weights and biases as whole multiples of a step, and
            that step."""
            k = self.products + extra - largest
            made = [xp.ldexp(one, k)]
            for grid, (kernel, bias), exponent, most in zip(self.grids, flat, own, reach, strict=True):
                bits = grid.finer(extra)
                # A bias that became the next power of two would have another exponent if it were rounded again.
                top = xp.maximum(BIAS * xp.ldexp(one, k + most) - 1, 0 * one)
                units = xp.clip(xp.round(kernel * xp.ldexp(one, bits - exponent)), 1 - 2.0**bits, 2.0**bits - 1)
                made += [units, xp.clip(xp.round(bias * made[0]), -top, top), xp.ldexp(one, exponent - bits)]
            return made

        best = scaled(0)
        for extra in range(1, max(grid.extra for grid in self.grids) + 1):
            finer = scaled(extra)
            fits = self._fits(finer)
            best = [xp.where(fits, new, old) for new, old in zip(finer, best, strict=True)]
        inverse, *parts = best
        rounded = []
        for (kernel, bias), (unrounded, _), (units, offset, step) in zip(flat, layers, _triples(parts), strict=True):
            weights = xp.where(xp.isfinite(kernel), units * step + 0.0, xp.nan)
            biases = xp.where(xp.isfinite(bias), offset * (1 / inverse) + 0.0, xp.nan)
            rounded.append((weights.reshape(unrounded.shape), biases))
        return rounded

    def steps(
        self, layers: Sequence[tuple[np.ndarray, np.ndarray]], exponents: Sequence[np.ndarray | None]
    ) -> list[np.ndarray]:
        """The steps of the neurons' grids, powers of two: rounded weights are multiples of them, below 2^`finest`.

        Args:
            layers: as returned by `round`.
            exponents: as in `round`.

        Returns:
            float32 [out] for each layer.
        """
        flat = [(kernel.reshape(-1, kernel.shape[-1]), bias) for kernel, bias in layers]
        *_, own = self._exponents(flat, np, exponents)
        return [
            np.ldexp(np.float32(1), np.asarray(exponent, np.int32) - grid.finest)
            for grid, exponent in zip(self.grids, own, strict=True)
        ]

    def _exponents(
        self, flat: Sequence[tuple[Any, Any]], xp: ModuleType, exponents: Sequence[Any] | None
    ) -> tuple[Any, list[Any], list[Any]]:
        """X of the unit, what each layer alone needs of X, and the exponents of its steps, multiples of the unit."""
        stored = exponents or [None] * len(flat)
        own = [
            grid.exponents(*layer, xp) if chosen is None else chosen
            for grid, layer, chosen in zip(self.grids, flat, stored, strict=True)
        ]
        reach = [exponent + grid.input_exponent for grid, exponent in zip(self.grids, own, strict=True)]
        largest = functools.reduce(xp.maximum, reach)
        least = (largest - grid.input_exponent - (grid.room - grid.bits) for grid in self.grids)
        return largest, reach, [xp.maximum(exponent, floor) for exponent, floor in zip(own, least, strict=True)]

    def _fits(self, scaled: Sequence[Any]) -> Any:
        """Whether a neuron's own sums stay below 2^24 units, for the result of `scaled` in `round`."""
        inverse, *parts = scaled
        sizes = []
        for grid, (units, offset, step) in zip(self.grids, _triples(parts), strict=True):
            # In any order, integers add up exactly below 2^24, and sums that reach it never round below it.
            sizes.append(abs(units).sum(0) * (step * inverse * 2.0**grid.input_exponent) + abs(offset))
        fits = (sum(size * count for size, count in zip(sizes, counts, strict=True)) for counts in self.sums)
        return functools.reduce(operator.and_, (size < 2.0**MANTISSA for size in fits))


def _triples(values: Sequence[Any]) -> list[tuple[Any, Any, Any]]:
    """Every three values."""
    return list(zip(values[::3], values[1::3], values[2::3], strict=True))
