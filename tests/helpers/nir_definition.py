"""Runs NIR nodes by NIR's own definition, Euler's method in float64, as the reference for importers."""

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
    outputs: list[list[np.ndarray]] = [[] for _ in nodes]
    for _ in range(steps):
        value = x.double()
        for (kind, of), state, collected in zip(nodes, states, outputs, strict=True):
            value = _step(kind, {name: _tensor(one) for name, one in of.items()}, state, value, dt)
            collected.append(value.numpy())
    return [np.stack(one) for (kind, _), one in zip(nodes, outputs, strict=True) if kind in NEURONS]


def run_graph(
    nodes: dict[str, tuple[str, dict[str, Any]]],
    edges: Sequence[tuple[str, str]],
    closing: Sequence[tuple[str, str]],
    x: Tensor,
    steps: int,
    dt: float,
) -> dict[str, np.ndarray]:
    """The spikes of each layer of neurons in a graph, whose `closing` edges bring spikes of the step before.

    What lies on the way from the neurons to a closing edge is evaluated with these spikes, so biases always count. What
    a Delay gives before its time is 0.
    """
    kinds = {name: (kind, {key: _tensor(one) for key, one in of.items()}) for name, (kind, of) in nodes.items()}
    states: dict[str, dict[str, Any]] = {name: {} for name in nodes}
    delayed: dict[str, list[Tensor]] = {name: [] for name, (kind, of) in nodes.items() if kind == "Delay"}
    fired: dict[str, list[Tensor]] = {name: [] for name, (kind, _) in nodes.items() if kind in NEURONS}

    def entering(name: str, now: dict[str, Tensor], before: bool = False) -> Tensor:
        parts = [value(one, now, before or (one, end) in closing) for one, end in edges if end == name]
        return sum(parts[1:], parts[0])

    def value(name: str, now: dict[str, Tensor], before: bool) -> Tensor:
        kind, of = kinds[name]
        if kind == "Input":
            return x.double()
        if before and kind in NEURONS:
            if fired[name]:
                return fired[name][-1]
            return torch.zeros(len(x), *np.shape(nodes[name][1]["v_threshold"]), dtype=torch.float64)
        if name in now and not before:
            return now[name]
        if name in delayed and (steps := round(float(of["delay"].max()) / dt)):
            earlier = delayed[name]
            return earlier[-steps] if steps <= len(earlier) else torch.zeros(len(x), *of["delay"].shape).double()
        made = entering(name, now, before)
        made = made if kind in ("Output", "Delay") else _step(kind, of, states[name], made, dt)
        if not before:
            now[name] = made
        return made

    last = next(name for name, (kind, _) in nodes.items() if kind == "Output")
    for _ in range(steps):
        now: dict[str, Tensor] = {}
        value(last, now, False)
        latest = {name: entering(name, now) for name in delayed}
        for name, output in latest.items():
            delayed[name].append(output)
        for name, collected in fired.items():
            collected.append(now[name])
    return {name: torch.stack(one).numpy() for name, one in fired.items()}


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
        size, stride = int(of["kernel_size"].max()), int(of["stride"].max())
        return functional.avg_pool2d(x, size, stride) * (size**2 if kind == "SumPool2d" else 1)
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
    subtracted = v - of["v_threshold"]
    state["v"] = torch.where(spikes, of.get("v_reset", subtracted), v)
    return spikes.double()
