"""A recurrent layer over a whole window: its input current by event-driven kernels, then a loop over steps.

The loop's forward sums are exact on their grid, so XLA may add them in any order. Its gradients are added by kernels in
a fixed order, like those of the other layers.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from csnn_jax.engine import fixed
from csnn_jax.network import surrogate as surrogates
from csnn_jax.network.layers import matmul
from csnn_jax.network.neuron import Operations
from csnn_jax.network.rounding import rounded
from csnn_jax.network.surrogate import Derivative, fast_sigmoid
from csnn_jax.neurons import leaky
from csnn_jax.neurons.neuron import MEMBRANE, NEVER, Reset
from csnn_jax.ops.currents import image_current
from csnn_jax.ops.layer import Held, Layer, layer_bias, layer_rule, layer_values, linear_kernel, linear_lif, wide
from csnn_jax.ops.rules import Rule
from csnn_jax.ops.spikes import Layout, Spikes, pack_arrays


@surrogates.reverse_mode_only()
def recurrent_lif(
    source: Spikes | Held,
    kernel: Array,
    recurrent: Array,
    bias: Array | None = None,
    beta: ArrayLike = 0.5,
    threshold: ArrayLike = 1.0,
    *,
    reset: Reset = "subtract",
    surrogate: Derivative = fast_sigmoid,
    membranes: bool = False,
    stays: Array | None = None,
    weight_bits: int = 0,
) -> Layer:
    """A linear layer whose neurons also get their own spikes of the step before, over the whole window.

    Args:
        source: as in `linear_lif`, like all arguments but the third.
        kernel: float32 [inputs, out].
        recurrent: weights of the spikes of the step before, float32 [out, out], or [out]: one for each neuron. For
            membranes that are the same everywhere, all weights must be multiples of a common unit.
        bias: likewise.
        beta: likewise.
        threshold: likewise.
        reset: likewise.
        surrogate: likewise.
        membranes: likewise.
        stays: likewise; the layer itself gets all of its spikes.
        weight_bits: of `kernel`.

    Returns:
        The layer, with spikes [time, batch, out].

    Raises:
        ValueError: an argument has the wrong shape or type.
        Unsupported: the kernels aren't built.

    Examples:
        >>> import jax.numpy as jnp
        >>> from csnn_jax import ops
        >>> spikes = ops.pack(jnp.ones((4, 1, 1), jnp.uint8))
        >>> layer = ops.recurrent_lif(spikes, jnp.array([[0.75]]), jnp.array([-0.5]), membranes=True)
        >>> layer.membranes[:, 0, 0].tolist()
        [0.75, 1.125, -0.1875, 0.65625]
    """
    recurrent, kernel = jnp.asarray(recurrent), linear_kernel(source, kernel)
    channels = kernel.shape[-1]
    if recurrent.shape not in ((channels,), (channels, channels)) or recurrent.dtype != jnp.float32:
        wanted = f"float32 [{channels}, {channels}] or [{channels}]"
        raise ValueError(f"recurrent is {recurrent.dtype} {list(recurrent.shape)}, expected {wanted}")
    layout = Layout((channels,), (channels,))
    rule = layer_rule(reset, surrogate, layout, membranes, weight_bits, None)
    values = layer_values(beta, threshold, stays, layout, source)
    if isinstance(source, Held):
        image, padded_bias = source.image.reshape(len(source.image), -1), wide(layer_bias(bias, channels), layout)
        constant = layout.gathered(image_current(image, wide(kernel, layout), padded_bias, None))
        currents = jnp.broadcast_to(constant, (source.time_steps, *constant.shape))
    else:  # neurons that keep nothing and never spike have their current as their membrane
        driven = linear_lif(source, kernel, bias, 0.0, NEVER, reset="none", membranes=True, weight_bits=weight_bits)
        currents = driven.membranes
    every, spikes = _loop(currents, recurrent, values.beta, values.threshold, rule)
    passed = spikes if stays is None else spikes * jnp.asarray(stays)
    bits = pack_arrays(passed[:, :, None, :])
    shown = layout.spread(every.swapaxes(0, 1), -1)
    counts = fixed.add_up(fixed.add_up(spikes, 0), 1)
    return Layer(Spikes(bits, layout), shown if membranes else jnp.zeros(0), shown[:, -1], counts, layout)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _loop(currents: Array, recurrent: Array, beta: Array, threshold: Array, rule: Rule) -> tuple[Array, Array]:
    """Membranes and spikes [time, batch, out] for the input currents [time, batch, out]."""
    values = {"beta": beta, "threshold": threshold}

    def step(membrane: Array, current: Array) -> tuple[Array, Array]:
        fired = (membrane > threshold).astype(membrane.dtype)
        with jax.named_scope("exact"):
            current += matmul(fired, recurrent) if recurrent.ndim == 2 else fired * recurrent
        membrane = leaky.step(Operations(), values, {MEMBRANE: membrane}, (current,), rule.reset)[MEMBRANE]
        return membrane, membrane

    _, membranes = lax.scan(step, jnp.zeros_like(currents[0]), currents)
    return membranes, (membranes > threshold).astype(membranes.dtype)


def _forward(
    currents: Array, recurrent: Array, beta: Array, threshold: Array, rule: Rule
) -> tuple[tuple[Array, Array], Any]:
    membranes, spikes = _loop(currents, recurrent, beta, threshold, rule)
    return (membranes, spikes), (membranes, recurrent, beta, threshold)


def _backward(rule: Rule, saved: Any, cotangents: tuple[Array, Array]) -> tuple[Array, Array, Array, Array]:
    """docs/design.md, section 2: dS[t] also has what comes back through the recurrent weights from dI[t+1]."""
    membranes, recurrent, beta, threshold = saved
    before = jnp.concatenate([jnp.zeros_like(membranes[:1]), membranes[:-1]])
    resets = (before > threshold).astype(membranes.dtype)
    remains = 1 - resets if rule.reset == "zero" else jnp.ones_like(resets)
    back = recurrent.T
    slopes = rule.derivative(membranes, threshold)

    def step(later: tuple[Array, Array], now: tuple[Array, ...]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        dmembrane, dspikes, slope, remaining = now
        dlater, remains_later = later
        through = fixed.multiply(dlater, back) if back.ndim == 2 else rounded(dlater * back)
        by_spikes = rounded(slope * (dspikes + through))
        dcurrent = by_spikes + dmembrane + rounded(rounded(beta * dlater) * remains_later)
        return (dcurrent, remaining), (dcurrent, by_spikes)

    nothing = jnp.zeros_like(membranes[0])
    _, (dcurrents, by_spikes) = lax.scan(step, (nothing, nothing), (*cotangents, slopes, remains), reverse=True)
    flat, spiked = dcurrents.reshape(-1, dcurrents.shape[-1]), resets.reshape(-1, resets.shape[-1])
    drecurrent = fixed.multiply(spiked.T, flat) if recurrent.ndim == 2 else fixed.add_up(spiked * flat, 0)
    dbeta = fixed.add_up(rounded(rounded(dcurrents * before) * remains))
    moved = by_spikes + resets * dcurrents if rule.reset == "subtract" else by_spikes
    dfirst = fixed.multiply(dcurrents[0], back) if back.ndim == 2 else rounded(dcurrents[0] * back)
    at_start = rounded(rule.derivative(nothing, threshold) * dfirst)  # of S[-1]
    return dcurrents, drecurrent, dbeta, -(fixed.add_up(moved) + fixed.add_up(at_start))


_loop.defvjp(_forward, _backward)
