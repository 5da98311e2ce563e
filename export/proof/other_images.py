"""Checks recorded figures when their images aren't available."""

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
"""Figures that depend on which images were used, or on how many."""


def other_images(name: str, recorded: Any, found: Any) -> list[str] | None:
    """Checks a figure that was recorded for other images than those used here.

    Args:
        name: its key in the manifest.
        recorded: the manifest's value.
        found: the value computed here.

    Returns:
        One line if it isn't a figure, otherwise an empty list; None: it doesn't depend on images and must be equal.
    """
    if name not in OF_IMAGES or not _is_figure(found):
        return None
    return [] if _is_figure(recorded) else [f"is {recorded!r:.60}, expected a figure like {found!r:.60}"]


def _is_figure(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0
