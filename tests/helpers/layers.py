"""Individual layers whose neurons don't matter."""

from typing import Any

from csnn_jax.config import Layer, ModelConfig


def lone_layer(*values: Any, **fields: Any) -> Layer:
    """A layer with the default neurons; the arguments are those of `Layer`."""
    return Layer(*values, neurons=ModelConfig().layers[0].neurons, **fields)
