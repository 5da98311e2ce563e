"""The leaky integrate-and-fire neuron, snnTorch's `Leaky` (docs/design.md, section 2)."""

from typing import Any

from csnn_jax.neurons.neuron import BETA, THRESHOLD, Neuron, Operations, Reset, State, Values


def step(ops: Operations, values: Values, state: State, current: Any, reset: Reset) -> State:
    """One time step of a layer of neurons, in any framework.

    R[t] = H(U[t-1] - theta)                                no gradient flows through R
    U[t] = beta U[t-1] + I[t] - R[t] theta                  reset "subtract"
    U[t] = beta (1 - R[t]) U[t-1] + I[t]                    reset "zero"
    U[t] = beta U[t-1] + I[t]                               reset "none"
    """
    membrane, beta, threshold = state["mem"], values["beta"], values["threshold"]
    if reset == "none":
        return {"mem": ops.decayed(beta, membrane) + current}
    fired = ops.fired(membrane, threshold)
    if reset == "zero":
        return {"mem": ops.decayed(beta, membrane - ops.masked(fired, membrane)) + current}
    return {"mem": ops.decayed(beta, membrane) + current - ops.masked(fired, threshold)}


NEURON = Neuron(
    "leaky",
    "leaky integrate-and-fire (snnTorch Leaky with its delayed reset)",
    states=("mem",),
    parameters={"beta": BETA, "threshold": THRESHOLD},
    step=step,
    equations={
        "subtract": ("U[t] = beta * U[t-1] + I[t] - R[t] * threshold",),
        "zero": ("U[t] = beta * (1 - R[t]) * U[t-1] + I[t]",),
        "none": ("U[t] = beta * U[t-1] + I[t]",),
    },
    backends=frozenset({"snntorch", "event", "nir"}),
)
