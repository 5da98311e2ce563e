"""The bounds of the comparison, and the distance that some of them limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import Tensors

DENSITY = 0.01, 0.60  # fraction of a layer's neurons that spike at a step: a silent network matches anything
# ||a - b|| / ||b|| of a parameter's gradient. In float32, snnTorch's own gradients are 1e-5 from its float64 ones, and
# 1e-4 if no reset keeps membranes small: a steep surrogate amplifies the membrane's rounding.
GRADIENT = {"float64": 1e-10, "float32": 1e-3}

TRAINING = 1e-9  # in float64: difference of the losses, and relative distance of every parameter at the end

# Adam's learning rate for the float64 iterations, low enough to compare equations, not chaos. At the default job's
# 1e-2, Adam's first steps are so large that snnTorch drifts 6e-7 from itself in 20 iterations if every weight starts
# one rounding off; at 1e-3, csnn_jax stays within 3e-14 of snnTorch.
EXACT_LR = 1e-3


@dataclass(frozen=True)
class Check:
    """A bound of the comparison, and the measured value.

    Attributes:
        name: what is bounded, in words.
        value: the measured value.
        low, high: the bound holds if low <= value <= high.
    """

    name: str
    value: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether the value is within the bound; NaN isn't."""
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        bound = f"at most {self.high:g}" if self.low == 0 else f"{self.low:g} to {self.high:g}"
        return f"{self.name}: {self.value:g}, expected {bound}"


def of_spiking(model: ModelConfig, densities: Sequence[float]) -> dict[str, float]:
    """The densities of the spiking layers by name, from those of all layers; an integrator is left out."""
    pairs = zip(model.graph.neurons, densities, strict=True)
    return {node.name: density for node, density in pairs if node in model.graph.spiking}


def fires(densities: Mapping[str, float]) -> bool:
    """Whether the densities of all spiking layers are within the bounds."""
    return all(DENSITY[0] <= density <= DENSITY[1] for density in densities.values())


def distances(found: Tensors, reference: Tensors) -> dict[str, float]:
    """||a - b|| / ||b|| of every tensor b of `reference`; NaN if b is zero, because that would show nothing."""
    errors = {}
    for name, b in reference.items():
        norm = np.linalg.norm(b.astype(np.float64))
        errors[name] = float(np.linalg.norm(found[name].astype(np.float64) - b) / norm) if norm > 0 else float("nan")
    return errors


def short(bound: float) -> str:
    """A power of ten: 1e-9."""
    return f"{bound:.0e}".replace("e-0", "e-")
