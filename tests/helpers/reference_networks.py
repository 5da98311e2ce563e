"""Random networks for tests of the reference and for comparisons with it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from reference_layers import layers

SMALL: dict[str, Any] = {
    "input_shape": (8, 8, 2),
    "conv_channels": (4, 5),
    "hidden": (6,),
    "num_classes": 3,
    "time_steps": 6,
    "alpha": 0.5,
    "surrogate": "atan",
}


def network(seed: int, **changes: Any) -> tuple[dict[str, Any], dict[str, np.ndarray], np.ndarray]:
    """Settings, tensors and images. Every layer spikes, and each channel has its own beta, threshold and alpha."""
    rng = np.random.default_rng(seed)
    settings = SMALL | changes
    tensors = {}
    for layer in layers(settings):
        neurons = layer.sum_shape[-1]
        shape = (neurons, layer.in_shape[-1], layer.kernel, layer.kernel) if layer.kernel else (neurons, layer.products)
        tensors[f"{layer.name}.weight"] = rng.normal(0, 3 / layer.products**0.5, shape) + 1 / layer.products
        if layer.has_bias:
            tensors[f"{layer.name}.bias"] = rng.normal(0.2, 0.2, neurons)
        tensors[f"{layer.neurons}.beta"] = rng.uniform(0.1, 0.95, neurons)
        tensors[f"{layer.neurons}.threshold"] = rng.uniform(0.5, 1.5, neurons)
        if layer.neuron == "synaptic":
            tensors[f"{layer.neurons}.alpha"] = rng.uniform(0.1, 0.9, neurons)
    x = rng.integers(0, 256, (3, *settings["input_shape"])).astype(np.uint8)
    return settings, {name: value.astype(np.float32) for name, value in tensors.items()}, x


def cotangents(
    seed: int, trace: Mapping[str, Mapping[str, Any]], names: tuple[str, ...] = ("spikes", "membrane", "synaptic")
) -> dict[str, dict[str, np.ndarray]]:
    """Random gradients of the states of every layer."""
    rng = np.random.default_rng(seed)
    return {
        layer: {name: rng.normal(size=states[name].shape) for name in names if name in states}
        for layer, states in trace.items()
    }
