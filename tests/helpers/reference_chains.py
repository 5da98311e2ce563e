"""The reference for networks of flags: `reference_graph` with values under the names of layers instead of nodes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import reference_graph
import reference_grids
from reference_graph import SURROGATES, network_input, surrogate
from reference_grids import Array, Tensors
from reference_layers import Settings, layers, setting
from reference_nodes import chain

__all__ = ["SURROGATES", "gradients", "network_input", "rounded", "surrogate", "trace"]

Masks = Mapping[str, Any] | None


def rounded(settings: Settings, tensors: Tensors) -> dict[str, Array]:
    """Every weight and bias on its grid, in float64, and the exponents if there are fewer than five bits."""
    return reference_grids.rounded(chain(settings), settings, tensors)


def factors(settings: Settings, masks: Masks) -> dict[str, Array]:
    """Dropout's factors of spikes, or of the image.

    Args:
        settings: See `reference_layers`.
        masks: 0s and 1s [B, features] for each linear layer whose inputs are dropped, in the weight's order.
    """
    result, before = {}, None
    for layer in layers(settings):
        if masks is not None and layer.name in masks:
            assert before is None or not before.pool_after
            values = np.asarray(masks[layer.name], np.float64) / (1 - setting(settings, "dropout"))
            if len(layer.in_shape) == 3:
                height, width, channels = layer.in_shape
                values = np.moveaxis(values.reshape(-1, channels, height, width), 1, -1)
            result["image" if before is None else before.neurons] = values
        before = layer
    return result


def trace(
    settings: Settings, tensors: Tensors, x: Any, dtype: Any = np.float32, masks: Masks = None
) -> reference_graph.States:
    """For each layer's name its neurons' states and the `sums` before pooling. `masks`: see `factors`."""
    states = reference_graph.trace(chain(settings), settings, tensors, x, dtype, factors(settings, masks))
    return {layer.name: states[layer.neurons] | {"sums": states[layer.name]["output"]} for layer in layers(settings)}


def gradients(
    settings: Settings,
    tensors: Tensors,
    x: Any,
    cotangents: Mapping[str, Mapping[str, Any]],
    dtype: Any = np.float64,
    masks: Masks = None,
) -> dict[str, Array]:
    """`reference_graph.gradients` after a forward pass in `dtype`; `cotangents` by layer."""
    nodes, dropped = chain(settings), factors(settings, masks)
    forward = reference_graph.trace(nodes, settings, tensors, x, dtype, dropped)
    named = {layer.neurons: cotangents[layer.name] for layer in layers(settings) if layer.name in cotangents}
    return reference_graph.gradients(nodes, settings, tensors, x, named, forward, dropped)
