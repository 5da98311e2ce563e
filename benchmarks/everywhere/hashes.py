"""Hashes of membranes and spikes, the same in NumPy, C and JavaScript: sums modulo 2^32, in any order.

For each image, layer and step, there are two hashes of the membranes' bits and one of the spikes. Neuron n counts in
height-width-channel order; its factors are odd, so a single bit always changes the first sum.
"""

import numpy as np

from csnn_jax.runs.equality import canonical

WORDS = 3
"""Number of hashes for a layer's step."""


def factors(neurons: int) -> tuple[np.ndarray, np.ndarray]:
    """The factors for the bits of each neuron: two arrays, uint32 [neurons]."""
    place = np.arange(neurons, dtype=np.uint32)
    return 2 * place + 1, (place * np.uint32(2654435761)) | np.uint32(1)


def of(membranes: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """The hashes of a layer.

    Args:
        membranes: float32 [time, batch, H, W, C] or [time, batch, features].
        spikes: 0s and 1s, of the same shape.

    Returns:
        uint32 [batch, time, 3].
    """
    shape = (*membranes.shape[:2], -1)
    bits = np.ascontiguousarray(canonical(membranes)).view(np.uint32).reshape(shape)
    one, other = factors(bits.shape[-1])
    sums = (bits * one, (bits ^ (bits >> np.uint32(15))) * other, (spikes > 0).reshape(shape) * other)
    return np.stack([each.sum(-1, dtype=np.uint32) for each in sums], -1).swapaxes(0, 1)
