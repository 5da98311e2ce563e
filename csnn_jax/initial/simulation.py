"""One layer over the whole window in NumPy: what initial weights are calibrated with.

Slow and plain; no engine, so that what it finds depends on none (docs/design.md, section 2).
"""

from typing import assert_never

import numpy as np

from csnn_jax.config import Layer, ModelConfig


def current(model: ModelConfig, layer: Layer, kernel: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Input current of a layer.

    Args:
        model: the network.
        layer: one of its layers.
        kernel: [k, k, in, out] or [in, out].
        bias: [out].
        x: its input [time, batch, *in_shape], numbers or booleans. A time of 1 stands for every step.

    Returns:
        [time, batch, *out_shape] float32.
    """
    if layer.kind == "linear":
        frames = [frame.reshape(len(frame), -1).astype(np.float32) @ kernel for frame in x]
    else:
        frames = [_pool(_conv(frame.astype(np.float32), kernel), model.pool) for frame in x]
    return np.stack(frames) + bias


def spikes(current: np.ndarray, model: ModelConfig, index: int) -> np.ndarray:
    """Spikes of layer number `index` for its current [time or 1, batch, ...]: bool [time, batch, ...]."""
    beta, threshold = np.float32(model.betas[index]), np.float32(model.thresholds[index])
    steps = model.time_steps if len(current) == 1 else len(current)
    membrane = np.zeros(current.shape[1:], np.float32)
    fired = np.zeros((steps, *membrane.shape), bool)
    before = np.zeros(membrane.shape, bool)
    for step in range(steps):
        now = current[step % len(current)]
        if model.reset == "subtract":
            membrane = beta * membrane + now - threshold * before
        elif model.reset == "zero":
            membrane = beta * np.where(before, 0, membrane) + now
        elif model.reset == "none":
            membrane = beta * membrane + now
        else:
            assert_never(model.reset)
        before = fired[step] = membrane > threshold
    return fired


def _conv(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Cross-correlation [batch, H, W, out] that keeps the size."""
    size, margin = kernel.shape[0], kernel.shape[0] // 2
    batch, height, width, _ = x.shape
    x = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    places = [(row, column) for row in range(size) for column in range(size)]
    patches = np.concatenate([x[:, r : r + height, c : c + width] for r, c in places], -1)
    return (patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(patches.shape[-1], -1)).reshape(
        batch, height, width, -1
    )


def _pool(x: np.ndarray, kind: str) -> np.ndarray:
    """2x2 pooling; an odd last row or column is left out."""
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2].reshape(batch, height // 2, 2, width // 2, 2, channels)
    return x.max((2, 4)) if kind == "max" else x.mean((2, 4))
