"""Layers of spiking neurons in plain JAX, in the shapes of csnn_jax.ops: what a user would write without it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from csnn_jax.network.surrogate import spike


def conv_lif(x: Array, kernel: Array, bias: Array, beta: Array, threshold: Array, **settings) -> tuple[Array, Array]:
    """(spikes, membranes) [time, batch, rows, columns, out] for x [time, batch, height, width, in]."""
    padding, pool, added = settings.pop("padding", 0), settings.pop("pool", None), settings.pop("added", 0)

    def current(x: Array) -> Array:
        y = lax.conv_general_dilated(
            x, kernel, (1, 1), 2 * [(padding, padding)], dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        window = (1, 2, 2, 1)
        if pool == "max":
            return lax.reduce_window(y, -jnp.inf, lax.max, window, window, "VALID") + bias
        return y + bias if pool is None else lax.reduce_window(y, 0.0, lax.add, window, window, "VALID") / 4 + bias

    return lif(jax.vmap(current)(x) + added, beta, threshold, **settings)


def linear_lif(x: Array, kernel: Array, bias: Array, beta: Array, threshold: Array, **settings) -> tuple[Array, Array]:
    """(spikes, membranes) [time, batch, out]."""
    return lif(x.reshape(*x.shape[:2], -1) @ kernel + bias, beta, threshold, **settings)


def recurrent_lif(
    x: Array, kernel: Array, recurrent: Array, bias: Array, beta: Array, threshold: Array, **settings
) -> tuple[Array, Array]:
    """(spikes, membranes) [time, batch, out]; recurrent weights are [out, out], or [out]: one for each neuron."""
    current = x.reshape(*x.shape[:2], -1) @ kernel + bias

    def again(spikes: Array) -> Array:
        return spikes @ recurrent if recurrent.ndim == 2 else spikes * recurrent

    return lif(current, beta, threshold, again=again, **settings)


def lif(
    current: Array, beta: Array, threshold: Array, reset: str, surrogate: Callable, again: Callable | None = None
) -> tuple[Array, Array]:
    """(spikes, membranes) of neurons with these currents [time, ...], to which `again` adds those of their spikes."""

    def step(before: Array, current: Array) -> tuple[Array, tuple[Array, Array]]:
        if again is not None:
            current += again(spike(before - threshold, surrogate))
        fired = lax.stop_gradient(before > threshold)
        stays = jnp.where(fired, 0, before) if reset == "zero" else before
        membrane = beta * stays + current - (jnp.where(fired, threshold, 0) if reset == "subtract" else 0)
        return membrane, (spike(membrane - threshold, surrogate), membrane)

    return lax.scan(step, jnp.zeros_like(current[0]), current)[1]
