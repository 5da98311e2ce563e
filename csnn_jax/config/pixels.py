"""What images consist of: bytes, counts or floats, all integer multiples of a power of two, which keeps sums exact."""

from typing import NamedTuple

BYTE = 256.0
"""Bytes are divided by this unless a data set or a flag says otherwise."""


class Pixels(NamedTuple):
    """The values of images, from 0 to 2^bits / scale in multiples of 1 / scale.

    Attributes:
        scale: power of two that bytes and counts are divided by; floats are rounded to its multiples.
        bits: bits of the largest value, as counted by `Grid`: 8 for bytes, 0 for spikes.
    """

    scale: float = BYTE
    bits: int = 8

    @property
    def are_bytes(self) -> bool:
        """Whether they are bytes or counts, not floats, which have finer steps."""
        return self.bits <= 8

    @property
    def brightest(self) -> float:
        """The value of full brightness before the division, the reference for encoders and pictures."""
        return 255.0 if self.scale == BYTE else self.scale


SPIKES = Pixels(1.0, 0)
"""The values of encoded images: 0 or 1."""
