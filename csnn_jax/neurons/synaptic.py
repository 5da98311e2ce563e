"""The leaky neuron driven by a decaying synaptic current: snnTorch's `Synaptic` (docs/design.md, section 2)."""

from collections.abc import Sequence
from typing import Any

from csnn_jax.neurons.neuron import (
    BETA,
    THRESHOLD,
    Neuron,
    Operations,
    Parameter,
    Reset,
    State,
    Values,
    accumulated,
)


def step(ops: Operations, values: Values, state: State, currents: Sequence[Any], reset: Reset) -> State:
    """One time step of a layer of neurons, in any framework.

    R[t] = H(U[t-1] - theta)                                no gradient flows through R
    A[t] = alpha A[t-1] + I[t]                              the synaptic current
    U[t] = beta U[t-1] + A[t] - R[t] theta                  reset "subtract"
    U[t] = (1 - R[t]) (beta U[t-1] + A[t])                  reset "zero"
    U[t] = beta (1 - R[t]) U[t-1] + A[t]                    reset "clear"
    U[t] = beta (U[t-1] - R[t] theta) + A[t]                reset "deduct"
    U[t] = beta U[t-1] + A[t]                               reset "none"

    Reset zero sets U to 0 for one step, in which the input reaches only A; `leaky` resets before it adds the input.
    Both match snnTorch. Resets clear and deduct are equivalent to a reset in the step of the spike, to 0 as in NIR's
    CubaLIF, or by subtracting the threshold.

    Args:
        ops: the framework's operations.
        values: the neurons' parameters.
        state: their state before the step.
        currents: I[t], whose sum is rounded one by one.
        reset: what a spike does to the membrane.
    """
    synaptic = accumulated(ops.decayed(values["alpha"], state["syn"]), currents)
    left, fired = state["mem"], ops.fired(state["mem"], values["threshold"])
    if reset in ("clear", "deduct"):
        left = left - ops.masked(fired, left if reset == "clear" else values["threshold"])
    membrane = ops.decayed(values["beta"], left) + synaptic
    if reset in ("none", "clear", "deduct"):
        return {"syn": synaptic, "mem": membrane}
    taken = membrane if reset == "zero" else values["threshold"]
    return {"syn": synaptic, "mem": membrane - ops.masked(fired, taken)}


_CURRENT = "A[t] = alpha * A[t-1] + I[t]"

NEURON = Neuron(
    "synaptic",
    "leaky integrate-and-fire behind a synaptic current A (snnTorch Synaptic with its delayed reset)",
    states=("syn", "mem"),
    parameters={
        "alpha": Parameter(0.5, "Decay of the synaptic current per time step (0 to 1)", decays=True),
        "beta": BETA,
        "threshold": THRESHOLD,
    },
    step=step,
    equations={
        "subtract": (_CURRENT, "U[t] = beta * U[t-1] + A[t] - R[t] * threshold"),
        "zero": (_CURRENT, "U[t] = (1 - R[t]) * (beta * U[t-1] + A[t])"),
        "clear": (_CURRENT, "U[t] = beta * (1 - R[t]) * U[t-1] + A[t]"),
        "deduct": (_CURRENT, "U[t] = beta * (U[t-1] - R[t] * threshold) + A[t]"),
        "none": (_CURRENT, "U[t] = beta * U[t-1] + A[t]"),
    },
    resets=("subtract", "zero", "clear", "deduct", "none"),
    backends=frozenset({"snntorch", "nir"}),
)
