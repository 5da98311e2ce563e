"""What a side gave on some images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

BEFORE, AFTER = "before", "after"
"""A membrane is read before or after the reset that its own spike causes."""

Layers = tuple[np.ndarray | None, ...]


class Recording(NamedTuple):
    """What the neurons of every layer did: arrays [time, batch, *shape], in torch's layout.

    Attributes:
        spikes: how often each neuron spiked at a step; None for a layer that never spikes, or without visible spikes.
        membranes: after the step; None if they aren't visible.
    """

    spikes: Layers
    membranes: Layers


def stacked(steps: Sequence[Sequence[Any]]) -> Layers:
    """Stacks tensors or arrays of every step and layer to one array per layer."""
    return tuple(_stacked(layer) for layer in zip(*steps, strict=True))


def joined(recordings: Sequence[Recording]) -> Recording:
    """Joins recordings of consecutive images."""
    kinds = zip(*recordings, strict=True)
    return Recording(*(tuple(map(_joined, zip(*kind, strict=True))) for kind in kinds))


def _joined(layer: Sequence[np.ndarray | None]) -> np.ndarray | None:
    shown = [one for one in layer if one is not None]
    return np.concatenate(shown, axis=1) if shown else None


def _stacked(layer: Sequence[Any]) -> np.ndarray | None:
    if any(one is None for one in layer):
        return None
    return np.stack([one.detach().cpu().numpy() if isinstance(one, torch.Tensor) else one for one in layer])
