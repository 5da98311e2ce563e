"""Runs a chain of NIR nodes by NIR's own definition, Euler's method in float64, as the reference for importers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

NEURONS = ("IF", "LIF", "CubaLIF", "LI")


def run(nodes: Sequence[tuple[str, dict[str, Any]]], x: Tensor, steps: int, dt: float) -> list[np.ndarray]:
    """The spikes [time, batch, *shape] of every layer of neurons, or the membranes of an LI.

    Membranes start at v_reset. A synaptic current is updated before the membrane.

    Args:
        nodes: (kind, parameters), in order.
        x: the input for every step, [batch, ...].
        steps: number of steps.
        dt: length of a step, in the unit of the time constants.
    """
    states: list[dict[str, Any]] = [{} for _ in nodes]
    found: list[list[np.ndarray]] = [[] for _ in nodes]
    for _ in range(steps):
        value = x.double()
        for (kind, of), state, collected in zip(nodes, states, found, strict=True):
            value = _step(kind, {name: _tensor(one) for name, one in of.items()}, state, value, dt)
            collected.append(value.numpy())
    return [np.stack(one) for (kind, _), one in zip(nodes, found, strict=True) if kind in NEURONS]


def _tensor(value: Any) -> Any:
    return value if isinstance(value, str) else torch.as_tensor(np.asarray(value)).double()


def _step(kind: str, of: dict[str, Any], state: dict[str, Any], x: Tensor, dt: float) -> Tensor:
    if kind == "Conv2d":
        padding = of["padding"] if isinstance(of["padding"], str) else int(of["padding"].max())
        return functional.conv2d(x, of["weight"], of["bias"], int(of["stride"].max()), padding)
    if kind in ("Affine", "Linear"):
        return functional.linear(x, of["weight"], of.get("bias"))
    if kind == "Flatten":
        return x.flatten(1)
    if kind == "Scale":
        return x * of["scale"]
    if kind.endswith("Pool2d"):
        size = int(of["kernel_size"].max())
        return functional.avg_pool2d(x, size) * (size**2 if kind == "SumPool2d" else 1)
    return _neurons(kind, of, state, x, dt)


def _neurons(kind: str, of: dict[str, Any], state: dict[str, Any], x: Tensor, dt: float) -> Tensor:
    if kind == "CubaLIF":
        current = state.get("current", 0)
        x = state["current"] = current + dt / of["tau_syn"] * (of["w_in"] * x - current)
    v = state.get("v", of.get("v_reset", 0))
    v = (
        v + dt * of["r"] * x
        if kind == "IF"
        else v + dt / of.get("tau", of.get("tau_mem")) * (of["v_leak"] - v + of["r"] * x)
    )
    state["v"] = v
    if kind == "LI":
        return v
    spikes = v > of["v_threshold"]
    state["v"] = torch.where(spikes, of["v_reset"], v)
    return spikes.double()
