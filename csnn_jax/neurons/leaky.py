"""The leaky integrate-and-fire neuron, snnTorch's `Leaky` (docs/design.md, section 2)."""

from collections.abc import Sequence
from typing import Any

from csnn_jax.neurons.neuron import BETA, THRESHOLD, Neuron, Operations, Reset, State, Values, accumulated


def step(ops: Operations, values: Values, state: State, currents: Sequence[Any], reset: Reset) -> State:
    """One time step of a layer of neurons, in any framework.

    R[t] = H(U[t-1] - theta)                                no gradient flows through R
    U[t] = beta U[t-1] + I[t] - R[t] theta                  reset "subtract"
    U[t] = beta (1 - R[t]) U[t-1] + I[t]                    reset "zero"
    U[t] = (1 - R[t]) (beta U[t-1] + I[t])                  reset "mute"
    U[t] = beta (U[t-1] - R[t] theta) + I[t]                reset "deduct"
    U[t] = beta U[t-1] + I[t]                               reset "none"

    Reset zero matches snnTorch's Leaky, and mute its RLeaky, which calls it zero, too. Reset deduct is equivalent to
    subtracting the threshold in the step of the spike, before the leak.

    Args:
        ops: the framework's operations.
        values: the neurons' parameters.
        state: their state before the step.
        currents: I[t], whose sum is rounded one by one.
        reset: what a spike does to the membrane.
    """
    left, fired = state["mem"], ops.fired(state["mem"], values["threshold"])
    if reset in ("zero", "deduct"):
        left = left - ops.masked(fired, left if reset == "zero" else values["threshold"])
    membrane = accumulated(ops.decayed(values["beta"], left), currents)
    if reset in ("none", "zero", "deduct"):
        return {"mem": membrane}
    return {"mem": membrane - ops.masked(fired, membrane if reset == "mute" else values["threshold"])}


NEURON = Neuron(
    "leaky",
    "leaky integrate-and-fire (snnTorch Leaky with its delayed reset)",
    states=("mem",),
    parameters={"beta": BETA, "threshold": THRESHOLD},
    step=step,
    equations={
        "subtract": ("U[t] = beta * U[t-1] + I[t] - R[t] * threshold",),
        "zero": ("U[t] = beta * (1 - R[t]) * U[t-1] + I[t]",),
        "mute": ("U[t] = (1 - R[t]) * (beta * U[t-1] + I[t])",),
        "deduct": ("U[t] = beta * (U[t-1] - R[t] * threshold) + I[t]",),
        "none": ("U[t] = beta * U[t-1] + I[t]",),
    },
    resets=("subtract", "zero", "mute", "deduct", "none"),
    backends=frozenset({"snntorch", "event", "nir"}),
)
