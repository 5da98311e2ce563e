"""Which channels of the spikes fire at all: on a CPU, products leave the others out.

Many are silent for a whole batch: in the trained default network 16 of the 32 filters of conv1 and 44 of the 64 of
conv2, and three quarters of fc1's inputs, which are channels here too. A silent channel adds only zeros, forward and in
the gradient of the weights. What can differ without it is the order of addition where a sum is long (fc1's 3,136
terms), and so the last bit in float32. The gradient of the spikes needs all channels, for a surrogate derivative is not
0 where a neuron is silent.
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
    """Which channels have a spike anywhere in a batch, so that the others can be left out of a product.

    Attributes:
        order: the channels [channels], active ones first, each kind in its order.
        number: how many are active, a scalar.
    """

    order: Array
    number: Array


def find(spikes: Array, outputs: int) -> ActiveChannels | None:
    """Which channels, the last axis, are not 0 everywhere; all of them elsewhere than on a CPU.

    None if they, or the `outputs` that a product turns each of them into, are few.
    """
    if min(spikes.shape[-1], outputs) < _FEW:
        return None

    def on_cpu(spikes: Array) -> ActiveChannels:
        active = (spikes != 0).any(tuple(range(spikes.ndim - 1)))
        return ActiveChannels(jnp.argsort(~active, stable=True).astype(jnp.int32), active.sum(dtype=jnp.int32))

    def elsewhere(spikes: Array) -> ActiveChannels:
        channels = spikes.shape[-1]
        return ActiveChannels(jnp.arange(channels, dtype=jnp.int32), jnp.asarray(channels, jnp.int32))

    found = lax.platform_dependent(spikes, cpu=on_cpu, default=elsewhere)
    return ActiveChannels(*(checkpoint_name(part, "activity") for part in found))


def among(function: Callable[..., Array], activity: ActiveChannels | None, *operands: Array) -> Array:
    """function(channels, *operands), where `channels` index the active ones; all of them if `activity` is None.

    XLA wants shapes in advance, so the function is compiled for a few numbers of channels; silent ones fill up to the
    next. Under `jax.vmap` the largest number of active channels counts.
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
