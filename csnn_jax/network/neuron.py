"""The neuron in JAX: the step of csnn_jax/neurons, its spikes and their gradient."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

from csnn_jax.network.rounding import rounded
from csnn_jax.network.surrogate import Derivative, spike
from csnn_jax.neurons.leaky import NEURON as LEAKY
from csnn_jax.neurons.neuron import MEMBRANE, Neuron, Reset, State, Values


class Operations:
    """JAX's operations for a neuron's step, see `csnn_jax.neurons.neuron`."""

    def fired(self, membrane: Array, threshold: Array) -> Array:
        """True where a membrane is above the threshold."""
        return lax.stop_gradient(membrane > threshold)

    def masked(self, fired: Array, x: Array) -> Array:
        """x where a neuron fired, otherwise 0."""
        return jnp.where(fired, x, 0)

    def decayed(self, factor: Array, x: Array) -> Array:
        """factor * x, rounded before anything is added to it."""
        return rounded(factor * x)


def clip(decay: Array | float) -> Array:
    """clip(decay, 0, 1) with torch's gradient: 1 at both ends, where `jnp.clip` has 0.5."""
    decay = jnp.asarray(decay)
    return jnp.where(decay < 0, 0, jnp.where(decay > 1, 1, decay)).astype(decay.dtype)


def fire(
    kind: Neuron, values: Values, state: State, currents: Sequence[Array], reset: Reset, derivative: Derivative
) -> tuple[State, Array]:
    """One time step of a layer of neurons.

    `kind.step` computes the state, with decays clipped to 0..1, and the spikes are

        S[t] = H(U[t] - theta)                                              gradient: `derivative`

    Args:
        kind: the neuron model.
        values: its parameters by name, scalars or arrays that broadcast against the current.
        state: the state after the previous step by name, each [batch, ...]; zeros before the first.
        currents: I[t], with the same shape; several are added to the decayed state one by one.
        reset: what a spike does to the membrane one step later.
        derivative: surrogate derivative dS/dU as a function of U - theta.

    Returns:
        (state, S[t]): the state, with the membrane U[t] before the reset by its own spike, and the spikes (0 or 1).

    Raises:
        ValueError: the membrane isn't a float, or the reset isn't supported.
    """
    dtype = state[MEMBRANE].dtype
    if not jnp.issubdtype(dtype, jnp.floating):  # beta would be truncated to an integer
        raise ValueError(f"membrane is {dtype}, expected floats")
    if reset not in kind.resets:
        raise ValueError(f"reset is {reset!r}, expected one of {', '.join(kind.resets)}")
    used = _in_use(kind, values, dtype)
    state = kind.step(Operations(), used, state, currents, reset)
    state = {name: checkpoint_name(array, "membrane") for name, array in state.items()}
    return state, spikes(kind, used, state, derivative)


def spikes(kind: Neuron, values: Values, state: State, derivative: Derivative) -> Array:
    """S[t] for the state after a step, see `fire`."""
    used = _in_use(kind, values, state[MEMBRANE].dtype)
    return spike(state[MEMBRANE] - kind.threshold(used, state), derivative)


def _in_use(kind: Neuron, values: Values, dtype: DTypeLike) -> dict[str, Array]:
    """Parameters in the type of the state, with decays clipped."""
    typed = {name: jnp.asarray(value, dtype) for name, value in values.items()}
    return {name: clip(value) if kind.parameters[name].decays else value for name, value in typed.items()}


def leaky(
    membrane: Array,
    current: Array,
    beta: Array | float,
    threshold: Array | float,
    reset: Reset,
    derivative: Derivative,
) -> tuple[Array, Array]:
    """One time step of leaky neurons, for your own loop.

    Args:
        membrane: U[t-1], any shape; zeros before the first step.
        current: I[t], with the same shape.
        beta: decay of the membrane per step, from 0 to 1; a number or an array that broadcasts.
        threshold: theta, likewise.
        reset: "subtract", "zero" or "none": what a spike does to the membrane one step later.
        derivative: surrogate derivative dS/dU as a function of U - theta.

    Returns:
        (U[t], S[t]): the membrane before the reset by its own spike, and the spikes, 0 or 1.

    Raises:
        ValueError: the membrane isn't a float, or the reset isn't one of these.

    Examples:
        >>> import jax.numpy as jnp
        >>> from csnn_jax import leaky
        >>> from csnn_jax.network.surrogate import atan
        >>> membrane, spikes = leaky(jnp.array([1.0, 2.0]), jnp.array([0.25, 0.5]), 0.5, 1.0, "subtract", atan)
        >>> membrane.tolist(), spikes.tolist()
        ([0.75, 0.5], [0.0, 0.0])
    """
    values = {"beta": beta, "threshold": threshold}
    state, fired = fire(LEAKY, values, {MEMBRANE: membrane}, (current,), reset, derivative)
    return state[MEMBRANE], fired
