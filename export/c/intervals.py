"""Intervals of float32 numbers, with which a neuron's step gives bounds instead of values.

Rounding is monotone: if a <= b, a rounds to no more than b does. So sums, differences and products of the ends, each
rounded to float32 as in the program, bound what the program computes.
"""

from dataclasses import dataclass

import numpy as np

Number = float | np.ndarray


@dataclass(frozen=True, eq=False)
class Interval:
    """What numbers can be, one pair of ends for each channel.

    Attributes:
        low, high: the ends, float32; infinite where there's no bound.
        masked: of `Operations.masked`, its arguments: x - masked(fired, x) is x or 0, not any difference.
    """

    low: np.ndarray
    high: np.ndarray
    masked: "tuple[Interval, Interval] | None" = None

    def __add__(self, other: "Interval | Number") -> "Interval":
        other = interval(other)
        return _outward(self.low + other.low, self.high + other.high)

    __radd__ = __add__

    def __sub__(self, other: "Interval | Number") -> "Interval":
        other = interval(other)
        if other.masked is not None and other.masked[1] is self:
            fired = other.masked[0]
            return _gated(Interval(1 - fired.high, 1 - fired.low), self)
        return _outward(self.low - other.high, self.high - other.low)

    def __rsub__(self, other: Number) -> "Interval":
        return interval(other) - self

    def __or__(self, other: "Interval") -> "Interval":
        """The smallest interval that contains both."""
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def __and__(self, other: "Interval") -> "Interval":
        """What's in both."""
        return Interval(np.maximum(self.low, other.low), np.minimum(self.high, other.high))

    def same(self, other: "Interval") -> bool:
        """Whether all ends are equal."""
        return np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high)

    def where(self, chosen: np.ndarray, other: "Interval") -> "Interval":
        """This interval for the chosen channels, and another for the rest."""
        return Interval(np.where(chosen, self.low, other.low), np.where(chosen, self.high, other.high))


def interval(value: Interval | Number) -> Interval:
    """An interval as it is, or a number that's known."""
    if isinstance(value, Interval):
        return value
    known = np.asarray(value, np.float32)
    return Interval(known, known)


def _outward(low: np.ndarray, high: np.ndarray) -> Interval:
    """An interval; differences of infinities bound nothing."""
    return Interval(np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high))


def _gated(fired: Interval, x: Interval) -> Interval:
    """x where neurons certainly fired, 0 where they certainly didn't, and otherwise either."""
    zero = interval(0.0)
    return x.where(fired.low > 0, zero.where(fired.high == 0, x | zero))


class Operations:
    """The operations of a neuron's step on intervals, see `csnn_jax.neurons.neuron`; `fired` is 0, 1 or from 0 to 1."""

    def fired(self, membrane: Interval, threshold: Interval) -> Interval:
        """Whether membranes are above the threshold."""
        certain, possible = membrane.low > threshold.high, membrane.high > threshold.low
        return Interval(certain.astype(np.float32), possible.astype(np.float32))

    def masked(self, fired: Interval, x: Interval | Number) -> Interval:
        """x if the neuron fired, else 0."""
        made = _gated(fired, interval(x))
        return Interval(made.low, made.high, (fired, x) if isinstance(x, Interval) else None)

    def decayed(self, factor: Interval | Number, x: Interval | Number) -> Interval:
        """The product."""
        one, other = interval(factor), interval(x)
        ends = [np.asarray(a * b) for a in (one.low, one.high) for b in (other.low, other.high)]
        ends = [np.where(np.isnan(end), np.float32(0), end) for end in ends]  # 0 times infinity, which stands for any
        return Interval(np.minimum.reduce(ends), np.maximum.reduce(ends))
