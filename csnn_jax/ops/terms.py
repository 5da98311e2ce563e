"""Sums of spikes that a layer reads: its terms may be delayed, pooled or dropped.

The bits of all terms are the layer's inputs, side by side, and its weights repeat for each. So all terms have the same
gradient, and the layer computes only the first one's: their ports are added, which passes it to all.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from csnn_jax.config.operations import Pooling
from csnn_jax.engine import fixed
from csnn_jax.engine.library import LANES, call, differentiable, padded
from csnn_jax.network import surrogate as surrogates
from csnn_jax.network.rounding import rounded, scaled
from csnn_jax.network.surrogate import Derivative
from csnn_jax.ops.spikes import Bits, Layout, Product, Spikes, no_gradient, pack_arrays, zeros_for


class Term(NamedTuple):
    """Packed spikes, or counts, in a sum.

    Attributes:
        bits: [batch, time, *positions, words] uint16.
        port: [batch, time, *positions, 16 * words] zeros that carry the gradient; None: others of the sum do, or none.
        channels: how many the bits have, without padding.
        weights: what the bits of each plane of the channels count.
    """

    bits: Array
    port: Array | None
    channels: int
    weights: tuple[float, ...] = (1.0,)

    @property
    def positions(self) -> tuple[int, ...]:
        """Rows and columns; () for features."""
        return self.bits.shape[2:-1]

    def map(self, change: Callable[[Array], Array]) -> "Term":
        """The result of moving the positions or steps of all arrays."""
        return self._replace(bits=change(self.bits), port=None if self.port is None else change(self.port))

    def times(self, factor: float) -> "Term":
        """The term counted with a factor."""
        return self._replace(weights=tuple(factor * weight for weight in self.weights))


def term(spikes: Spikes) -> Term:
    """The spikes of a layer, or a packed input, as a term."""
    layout, (bits, port, _) = spikes.layout, spikes.arrays
    if isinstance(port, Product):
        raise ValueError("these spikes have a gradient only for the layer that `feeds` announced")
    lead = (*bits.shape[:2], *layout.shape[:-1])
    weights = tuple(2.0**plane for plane in range(layout.planes))
    port = None if port is None else port.reshape(*lead, -1)
    return Term(bits.reshape(*lead, -1), port, layout.parts[0], weights)


def masked(one: Term, stays: Array, scale: float) -> Term:
    """The term without the spikes that dropout drops; stays [batch, neurons] bool."""
    stays = stays.reshape(1, len(stays), -1, one.channels)
    (bits, _, _), lead = pack_arrays(stays.astype(jnp.uint8)), (len(one.bits), 1, *one.positions)
    wide = Layout((one.channels,), (one.channels,)).spread(stays[0], -1).reshape(*lead, -1)
    port = None if one.port is None else jnp.where(wide, one.port, 0)
    return one._replace(bits=one.bits & bits.reshape(*lead, -1), port=port).times(scale)


def delayed(one: Term, steps: int, first: Term | None = None) -> Term:
    """The term some steps later; `first` comes before its first step, or zeros."""

    def later(array: Array, before: Array | None) -> Array:
        if before is None:
            before = jnp.zeros((len(array), min(steps, array.shape[1]), *array.shape[2:]), array.dtype)
        return jnp.concatenate([before, array], 1)[:, : array.shape[1]]

    start = first or one._replace(bits=None, port=None)  # type: ignore[arg-type]
    return one._replace(
        bits=later(one.bits, start.bits), port=None if one.port is None else later(one.port, start.port)
    )


def initial(one: Term, threshold: Array, derivative: Derivative) -> Term:
    """The spikes before the first step of neurons whose spikes are a term, H(0 - threshold), with its gradient."""
    exist = np.packbits(np.arange(padded(one.channels)) < one.channels, bitorder="little").view(np.uint16)
    bits = jnp.where(threshold < 0, jnp.asarray(exist), jnp.uint16(0))
    shape = (len(one.bits), 1, *one.positions)
    port = _carried(threshold, zeros_for(one.bits, *shape, LANES * len(exist)), derivative)
    return one._replace(bits=jnp.broadcast_to(bits, (*shape, len(exist))), port=port)


def _carried_backward(derivative: Derivative, threshold: Array, dspikes: Array) -> tuple[Array, Array]:
    slope = surrogates.evaluated(derivative, -threshold)
    return -rounded(slope * fixed.add_up(dspikes)), jnp.zeros_like(dspikes)


@differentiable(_carried_backward, 2)
def _carried(threshold: Array, zeros: Array, derivative: Derivative) -> tuple[Array, Array]:
    """Zeros that carry the gradient of spikes before the first step to the threshold."""
    del derivative
    return zeros, threshold


def added(one: Term, pool: Pooling) -> list[Term]:
    """The average or sum of every window of a term, as a sum of its members; windows don't overlap."""
    (rows, columns), size = map(pool.positions, one.positions), pool.size

    def windows(array: Array) -> Array:
        lead = array.shape[:2]
        inside = array[:, :, : rows * size, : columns * size]
        return inside.reshape(*lead, rows, size, columns, size, -1).swapaxes(3, 4)

    bits, port = windows(one.bits), None if one.port is None else windows(one.port).sum((4, 5))
    members = [bits[:, :, :, :, i, j] for i in range(size) for j in range(size)]
    ports = [port, *[None] * (len(members) - 1)]
    terms = [one._replace(bits=bits, port=port) for bits, port in zip(members, ports, strict=True)]
    return [each.times(pool.step) for each in terms]


def largest(terms: Sequence[Term], pool: Pooling) -> list[Term]:
    """The largest sum of terms of equal weights in every window: whether it's above 0, 1, ..."""
    together = Bits(jnp.concatenate([one.bits for one in terms], -1), _sum_of_ports(terms))
    bits, port, _ = _largest(together, pool, len(terms))
    ports = [port, *[None] * (len(terms) - 1)]
    planes = zip(jnp.split(bits, len(terms), -1), ports, strict=True)
    return [terms[0]._replace(bits=bits, port=port) for bits, port in planes]


def _sum_of_ports(terms: Sequence[Term]) -> Array | None:
    """A port of the first term that also carries the gradients of the others; None: none needs one."""
    ports = []
    for one in terms:
        factor = one.weights[0] / terms[0].weights[0]
        if one.port is not None:
            ports.append(one.port if factor == 1 else scaled(one.port, factor))
    return reduce(jnp.add, ports) if ports else None


def _pool_arguments(pool: Pooling, added: int, bits: Array) -> dict[str, Any]:
    batch, time, height, width, words = bits.shape
    sizes = {"height": height, "width": width, "added": added, "words": words // added}
    rows, columns = map(pool.positions, (height, width))
    places = {"rows": rows, "columns": columns, "size": pool.size, "stride": pool.stride}
    return sizes | places | {"bits_in": bits.reshape(batch, time, -1)}


def _largest_backward(pool: Pooling, added: int, saved: Array, cotangent: Bits) -> tuple[Bits]:
    batch, time, height, width, _ = saved.shape
    dspikes: Any = cotangent.port
    if dspikes is not None:
        arguments = _pool_arguments(pool, added, saved) | {"dspikes": dspikes.reshape(batch, time, -1)}
        dspikes = call("pool_backward", **arguments)["dspikes_in"].reshape(batch, time, height, width, -1)
    return (Bits(no_gradient(saved), dspikes),)


@differentiable(_largest_backward, 1, 2)
def _largest(arrays: Bits, pool: Pooling, added: int) -> tuple[Bits, Array]:
    """The planes of the largest sums, with a port of one; arrays [batch, time, rows, columns, added * words]."""
    arguments = _pool_arguments(pool, added, arrays.bits)
    lead = (*arrays.bits.shape[:2], arguments["rows"], arguments["columns"])
    bits = call("pool_spikes", **arguments)["bits"]
    port = None if arrays.port is None else zeros_for(bits, *lead, arguments["words"] * LANES)
    return Bits(bits.reshape(*lead, -1), port), arrays.bits


def placed(array: Array, size: tuple[int, ...], before: int) -> Array:
    """An array [batch, time, rows, columns, n] in a larger one.

    Args:
        array: the array.
        size: rows and columns of the result.
        before: zeros before the first row and column; others follow the last.
    """
    pads = [(before, whole - before - inside) for whole, inside in zip(size, array.shape[2:4], strict=True)]
    return jnp.pad(array, [(0, 0), (0, 0), *pads, (0, 0)])


def joined(sums: Sequence[tuple[Sequence[Term], Array]]) -> tuple[Spikes, Array]:
    """The inputs and the weights of a layer that adds the currents of several weights.

    Args:
        sums: for each, the terms of the sum that it multiplies, and its weights [k, k, in, out] or [inputs, out].

    Returns:
        Spikes, which have a port only for the first term of each sum, and weights for them.
    """
    ordered = [(terms[0], kernel) for terms, kernel in sums]
    ordered += [(one, kernel) for terms, kernel in sums for one in terms[1:]]
    flat = sums[0][1].ndim == 2
    positions = () if flat else ordered[0][0].positions
    lead = (*ordered[0][0].bits.shape[:2], math.prod(positions))
    bits = jnp.concatenate([one.bits.reshape(*lead, -1) for one, _ in ordered], -1)
    ports = [_sum_of_ports(terms) for terms, _ in sums]
    port: Array | None = None
    if any(one is not None for one in ports):
        firsts = [jnp.zeros((*terms[0].bits.shape[:-1], LANES * terms[0].bits.shape[-1])) for terms, _ in sums]
        filled = [zeros if one is None else one for one, zeros in zip(ports, firsts, strict=True)]
        port = jnp.concatenate([one.reshape(*lead, -1) for one in filled], -1)
        port = port.reshape(*lead[:2], -1)
    kernel = jnp.concatenate([_repeated(kernel, one, flat) for one, kernel in ordered], -2)
    layout = Layout((*positions, kernel.shape[-2]), (kernel.shape[-2],))
    return Spikes(Bits(bits.reshape(*lead[:2], -1), port), layout), kernel


def _repeated(kernel: Array, one: Term, flat: bool) -> Array:
    """Weights for each plane of a term, padded."""
    if flat:
        kernel = kernel.reshape(math.prod(one.positions), -1, kernel.shape[-1])
    planes = [kernel if weight == 1 else scaled(kernel, weight) for weight in one.weights]
    wide = Layout((one.channels,), (one.channels,)).spread(jnp.concatenate(planes, -2), -2)
    return wide.reshape(-1, kernel.shape[-1]) if flat else wide
