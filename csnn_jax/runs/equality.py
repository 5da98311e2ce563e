"""Compares the results of two programs: equal values, ignoring how processors treat subnormals."""

import numpy as np

SMALLEST = np.float32(2.0**-126)
"""XLA flushes smaller numbers to 0; torch, ONNX Runtime and C keep them. No spike depends on them (docs/design.md)."""


def canonical(values: np.ndarray) -> np.ndarray:
    """Membranes or spikes in float32, with subnormals and -0 replaced by 0, so equal values have equal bytes."""
    values = np.asarray(values, np.float32)
    return np.where(np.abs(values) < SMALLEST, np.float32(0), values)


def differ(one: np.ndarray, other: np.ndarray) -> int:
    """Counts values that differ; NaN differs from everything.

    Raises:
        ValueError: the shapes differ.
    """
    if np.shape(one) != np.shape(other):
        raise ValueError(f"{list(np.shape(one))} and {list(np.shape(other))}, expected equal shapes")
    return int(np.count_nonzero(canonical(one) != canonical(other)))
