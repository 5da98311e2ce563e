"""The neuron in JAX: the step of csnn_jax/neurons, its spikes and their gradient."""

from typing import get_args

import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name

from csnn_jax.config import Reset
from csnn_jax.network.rounding import rounded
from csnn_jax.network.surrogate import Derivative, spike
from csnn_jax.neurons.leaky import step


class Operations:
    """JAX's operations for a neuron's step, see `csnn_jax.neurons.operations`."""

    def fired(self, membrane: Array, threshold: Array) -> Array:
        """Where a membrane is above the threshold."""
        return lax.stop_gradient(membrane > threshold)

    def masked(self, fired: Array, x: Array) -> Array:
        """x where a neuron fired, else 0."""
        return jnp.where(fired, x, 0)

    def decayed(self, factor: Array, x: Array) -> Array:
        """The product, rounded before anything is added to it."""
        return rounded(factor * x)


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

    The membrane U[t] is that of `csnn_jax.neurons.leaky.step`, with beta clipped to 0..1, and its spikes are

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
    threshold = jnp.asarray(threshold, membrane.dtype)
    membrane = step(Operations(), decay, threshold, reset, membrane, current)
    membrane = checkpoint_name(membrane, "membrane")
    return membrane, spike(membrane - threshold, derivative)
