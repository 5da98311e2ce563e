"""Finds the channels that spike at all, so products on a CPU can skip the others.

Many are silent for a whole batch: in the trained default network, 16 of conv1's 32 filters, 44 of conv2's 64, and three
quarters of fc1's inputs, which count as channels here. A silent channel adds only zeros, in the forward pass and in the
weight gradient. Skipping it can only change the order of addition in long sums (fc1's 3,136 terms), and so the last bit
in float32. The gradient of the spikes needs all channels, because a surrogate derivative isn't 0 where a neuron is
silent.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name

_WIDTHS = 4  # numbers of channels, equally spaced, that a product is compiled for
_FEW = 32  # with fewer channels a product is too cheap to be compiled more than once


class ActiveChannels(NamedTuple):
    """The channels that spike anywhere in a batch; a product can skip the others.

    Attributes:
        order: all channels [channels], active ones first, otherwise in order.
        number: number of active channels, a scalar.
    """

    order: Array
    number: Array


def find(spikes: Array, outputs: int) -> ActiveChannels | None:
    """Finds the channels (last axis) that aren't 0 everywhere; on devices other than a CPU, returns all.

    Returns None if there are few channels, or few `outputs` of the product.
    """
    if min(spikes.shape[-1], outputs) < _FEW:
        return None

    def on_cpu(spikes: Array) -> ActiveChannels:
        active = (spikes != 0).any(tuple(range(spikes.ndim - 1)))
        return ActiveChannels(jnp.argsort(~active, stable=True).astype(jnp.int32), active.sum(dtype=jnp.int32))

    def elsewhere(spikes: Array) -> ActiveChannels:
        channels = spikes.shape[-1]
        return ActiveChannels(jnp.arange(channels, dtype=jnp.int32), jnp.asarray(channels, jnp.int32))

    active = lax.platform_dependent(lax.stop_gradient(spikes), cpu=on_cpu, default=elsewhere)
    return ActiveChannels(*(checkpoint_name(part, "activity") for part in active))


def among(function: Callable[..., Array], activity: ActiveChannels | None, *operands: Array) -> Array:
    """function(channels, *operands), where `channels` index the active ones; all of them if `activity` is None.

    XLA needs static shapes, so the function is compiled for a few numbers of channels, padded with silent ones. Under
    `jax.vmap`, the largest number of active channels is used.
    """
    if activity is None:
        return function(slice(None), *operands)
    order, number = activity
    widths = [-(-len(order) * i // _WIDTHS) for i in range(1, _WIDTHS)]
    branch = (_largest(number) > jnp.asarray(widths, jnp.int32)).sum()

    def first(width: int, order: Array, *operands: Array) -> Array:
        return function(order[:width], *operands)

    def everything(order: Array, *operands: Array) -> Array:
        del order
        return function(slice(None), *operands)

    def on_cpu(*operands: Array) -> Array:
        return lax.switch(branch, [*(partial(first, width) for width in widths), everything], *operands)

    return lax.platform_dependent(order, *operands, cpu=on_cpu, default=everything)


@jax.custom_batching.custom_vmap
def _largest(number: Array) -> Array:
    return number


@_largest.def_vmap
def _(axis_size: int, in_batched: list[bool], number: Array) -> tuple[Array, bool]:
    del axis_size, in_batched  # a switch on a batched index would compute every branch
    return number.max(), False
