"""The leaky integrate-and-fire neuron, and nothing else (docs/design.md, section 2; snnTorch's `Leaky`)."""

from typing import assert_never, get_args

import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name

from csnn_jax.config import Reset
from csnn_jax.network.rounding import rounded
from csnn_jax.network.surrogate import Derivative, spike


def clip_beta(beta: Array | float) -> Array:
    """clip(beta, 0, 1) with torch's gradient: 1 at both ends, where `jnp.clip` gives 0.5."""
    beta = jnp.asarray(beta)
    return jnp.where(beta < 0, 0, jnp.where(beta > 1, 1, beta)).astype(beta.dtype)


def leaky(
    membrane: Array,
    current: Array,
    beta: Array | float,
    threshold: Array | float,
    reset: Reset,
    derivative: Derivative,
) -> tuple[Array, Array]:
    """One time step of a layer of neurons.

        R[t] = H(U[t-1] - theta)                                            no gradient flows through R
        U[t] = clip(beta, 0, 1) U[t-1] + I[t] - R[t] theta                  reset "subtract"
        U[t] = clip(beta, 0, 1) (1 - R[t]) U[t-1] + I[t]                    reset "zero"
        U[t] = clip(beta, 0, 1) U[t-1] + I[t]                               reset "none"
        S[t] = H(U[t] - theta)                                              gradient: `derivative`

    Args:
        membrane: U[t-1], [batch, ...]; zeros before the first step.
        current: I[t], same shape.
        beta: membrane decay per step, a scalar.
        threshold: theta, a scalar.
        reset: "subtract", "zero" or "none".
        derivative: surrogate derivative dS/dU as a function of U - theta.

    Returns:
        (U[t], S[t]): the membrane, before the reset that its own spike causes, and the spikes (0 or 1).

    Raises:
        ValueError: a membrane that is no float, or another reset.
    """
    if not jnp.issubdtype(membrane.dtype, jnp.floating):  # beta would be cut to a whole number
        raise ValueError(f"membrane is {membrane.dtype}, expected floats")
    if reset not in (known := get_args(Reset)):
        raise ValueError(f"reset is {reset!r}, expected one of {', '.join(known)}")
    decay = clip_beta(jnp.asarray(beta, membrane.dtype))

    def leak(membrane: Array) -> Array:
        return rounded(decay * membrane)

    threshold = jnp.asarray(threshold, membrane.dtype)
    fired = lax.stop_gradient(membrane > threshold)
    if reset == "subtract":
        membrane = leak(membrane) + current - jnp.where(fired, threshold, 0)
    elif reset == "zero":
        membrane = leak(jnp.where(fired, 0, membrane)) + current
    elif reset == "none":
        membrane = leak(membrane) + current
    else:
        assert_never(reset)
    membrane = checkpoint_name(membrane, "membrane")
    return membrane, spike(membrane - threshold, derivative)
