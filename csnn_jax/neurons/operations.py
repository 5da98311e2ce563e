"""The three operations that a neuron's step is made of, besides additions and subtractions."""

from typing import Any, Protocol

import numpy as np


class Operations(Protocol):
    """What a framework has for a neuron's step, see `leaky.step`. Arrays are those of the framework."""

    def fired(self, membrane: Any, threshold: Any) -> Any:
        """Where a membrane is above the threshold. No gradient flows through it."""
        ...

    def masked(self, fired: Any, x: Any) -> Any:
        """x where a neuron fired, else 0."""
        ...

    def decayed(self, factor: Any, x: Any) -> Any:
        """The product, rounded before anything is added to it."""
        ...


class Numpy:
    """The operations of NumPy, in float32."""

    def fired(self, membrane: np.ndarray, threshold: np.ndarray) -> np.ndarray:
        """See `Operations`."""
        return membrane > threshold

    def masked(self, fired: np.ndarray, x: np.ndarray) -> np.ndarray:
        """See `Operations`."""
        return np.where(fired, x, np.float32(0))

    def decayed(self, factor: np.ndarray, x: np.ndarray) -> np.ndarray:
        """See `Operations`."""
        return factor * x
