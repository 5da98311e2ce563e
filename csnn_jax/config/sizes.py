"""Limits on a network's sizes, far above those of any real network.

A config.json from someone else can state any sizes, and names and layers are made from them before memory is checked.
"""

from typing import Any

from csnn_jax.config.checks import check

MOST_CLASSES = 2**16
"""Maximum number of classes, each of which has a name: three times as many as ImageNet-21k has."""
MOST_LAYERS, MOST_STEPS = 1000, 2**24


def check_sizes(model: Any) -> None:
    """Raises UserError if a ModelConfig exceeds these limits; its layers needn't exist yet."""
    layers = len(model.conv_channels) + len(model.hidden) + 1
    flag, widths = ("--hidden", model.hidden) if model.hidden else ("--conv-channels", model.conv_channels)
    check(flag, widths, f"at most {MOST_LAYERS:,} layers", layers <= MOST_LAYERS)
    check("--num-classes", model.num_classes, f"at most {MOST_CLASSES:,}", model.num_classes <= MOST_CLASSES)
    check("--time-steps", model.time_steps, f"at most {MOST_STEPS:,}", model.time_steps <= MOST_STEPS)
