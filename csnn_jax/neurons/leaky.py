"""The leaky integrate-and-fire neuron, snnTorch's `Leaky` (docs/design.md, section 2)."""

from typing import Any, assert_never

from csnn_jax.config.neurons import Reset
from csnn_jax.neurons.operations import Operations


def step(ops: Operations, beta: Any, threshold: Any, reset: Reset, membrane: Any, current: Any) -> Any:
    """One time step of a layer of neurons, in any framework.

        R[t] = H(U[t-1] - theta)                                no gradient flows through R
        U[t] = beta U[t-1] + I[t] - R[t] theta                  reset "subtract"
        U[t] = beta (1 - R[t]) U[t-1] + I[t]                    reset "zero"
        U[t] = beta U[t-1] + I[t]                               reset "none"

    Args:
        ops: the framework's operations.
        beta: membrane decay per step, from 0 to 1.
        threshold: theta.
        reset: what a spike does to the membrane one step later.
        membrane: U[t-1], [batch, ...]; zeros before the first step.
        current: I[t], same shape.

    Returns:
        U[t]: the membrane, before the reset that its own spike causes.
    """
    if reset == "none":
        return ops.decayed(beta, membrane) + current
    fired = ops.fired(membrane, threshold)
    if reset == "subtract":
        return ops.decayed(beta, membrane) + current - ops.masked(fired, threshold)
    if reset == "zero":
        return ops.decayed(beta, membrane - ops.masked(fired, membrane)) + current
    assert_never(reset)
