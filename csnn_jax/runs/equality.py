"""When two programs computed the same: equal values, after what processors are free to do with subnormals."""

import numpy as np

SMALLEST = np.float32(2.0**-126)
"""XLA sets smaller numbers to 0, torch, ONNX Runtime and C keep them; no spike depends on them (docs/design.md)."""


def canonical(values: np.ndarray) -> np.ndarray:
    """Membranes or spikes in float32, with subnormals and -0 as 0: equal bytes then are equal values."""
    values = np.asarray(values, np.float32)
    return np.where(np.abs(values) < SMALLEST, np.float32(0), values)


def differ(one: np.ndarray, other: np.ndarray) -> int:
    """How many values differ; NaN differs from everything.

    Raises:
        ValueError: different shapes.
    """
    if np.shape(one) != np.shape(other):
        raise ValueError(f"{list(np.shape(one))} and {list(np.shape(other))}, expected equal shapes")
    return int(np.count_nonzero(canonical(one) != canonical(other)))
