"""What can be said of recorded figures where their images are not here."""

import math
from typing import Any

OF_IMAGES = {
    "accuracy",
    "images",
    "spikes",
    "membranes",
    "predictions",
    "counts",
    "density",
    "synaptic_operations",
    "synaptic_operations_first_layer_once",
    "ActivationSparsity",
    "Effective_MACs",
    "Effective_ACs",
    "synapses_nj",
}
"""Figures that depend on which images were looked at, or on how many."""


def other_images(name: str, recorded: Any, found: Any) -> list[str] | None:
    """What is wrong with a figure that is of other images than those looked at here.

    Args:
        name: its key in the manifest.
        recorded: what the manifest holds.
        found: what was worked out here.

    Returns:
        One line, or none where it is a figure of that kind; None: it doesn't depend on images, so it must be equal.
    """
    if name not in OF_IMAGES or not _is_figure(found):
        return None
    return [] if _is_figure(recorded) else [f"is {recorded!r:.60}, expected a figure like {found!r:.60}"]


def _is_figure(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0
