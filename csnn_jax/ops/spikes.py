"""Spikes as bits, which layers pass to each other, and conversions from and to dense arrays.

Bits have no gradient. So spikes also have a `port`: zeros with their dense shape, which nothing reads (XLA drops them),
and whose cotangent is the gradient of the spikes. A layer that receives spikes ignores the port in the forward pass and
returns its gradient in the backward pass.
"""

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from csnn_jax.engine.library import LANES, call, differentiable, limits, padded


class Product(NamedTuple):
    """A gradient of spikes as a product that isn't computed yet: left [batch, time, m] @ right [neurons, m] transposed.

    The layer that receives it multiplies image by image, and only what it needs, so the whole product is never in
    memory. A sum of products isn't one, so the number of layers that read the spikes is counted, a scalar.
    """

    left: Array
    right: Array
    readers: Array


class Constant(NamedTuple):
    """Neurons under a constant current, which a convolution that reads their spikes can differentiate for them.

    It sums the gradient of the current over time, and stores nothing.

    Attributes:
        current: I [batch, neurons], the same at every step.
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
    """

    current: Array
    beta: Array
    threshold: Array


class Bits(NamedTuple):
    """The arrays of `Spikes`.

    Attributes:
        bits: [batch, time, neurons / 16] uint16; neuron n is bit n % 16 of word n // 16.
        port: [batch, time, neurons] zeros that carry the gradient, or a `Product` of zeros; None: no gradient. For the
            terms of a sum, it has only the first channels of each position.
        constant: the neurons that spiked, if another route for the gradient is through their constant current.
    """

    bits: Array
    port: "Array | Product | None"
    constant: Constant | None = None


@dataclasses.dataclass(frozen=True)
class Layout:
    """How neurons are ordered in `Bits`: by position, and at each position part by part, padded to a multiple of 16.

    Attributes:
        shape: of one image's neurons at a step, (height, width, channels) or (neurons,).
        parts: channels of each part.
        planes: bits per number, if these are counts, see `pack`.
    """

    shape: tuple[int, ...]
    parts: tuple[int, ...]
    planes: int = 1

    @property
    def width(self) -> int:
        """Channels at a position, with padding."""
        return sum(map(padded, self.parts))

    @property
    def neurons(self) -> int:
        """Number of neurons, with padding."""
        return math.prod(self.shape[:-1]) * self.width

    def spread(self, array: Array, axis: int) -> Array:
        """Inserts zeros for the padding into the channels of an array."""
        axis %= array.ndim
        if len(self.parts) == 1:
            return _pad(array, axis, self.width)
        pieces = jnp.split(array, np.cumsum(self.parts)[:-1], axis)
        return jnp.concatenate([_pad(piece, axis, padded(piece.shape[axis])) for piece in pieces], axis)

    def gathered(self, array: Array) -> Array:
        """The inverse for an array [..., neurons]: [..., *shape], without the padding (and of counts, plane 0)."""
        array = array.reshape(*array.shape[:-1], *self.shape[:-1], self.width)
        if len(self.parts) == 1:
            return array[..., : self.shape[-1]]
        ends = np.cumsum([padded(part) for part in self.parts])[:-1]
        pieces = jnp.split(array, ends, -1)
        return jnp.concatenate([piece[..., :part] for piece, part in zip(pieces, self.parts, strict=True)], -1)


@partial(jax.tree_util.register_dataclass, data_fields=["arrays"], meta_fields=["layout", "neurons"])
@dataclasses.dataclass(frozen=True)
class Spikes:
    """The spikes of a layer of neurons over a window, 16 in a word.

    Attributes:
        arrays: the bits, and the ports through which their gradient comes back.
        layout: the order of the bits.
        neurons: settings of the neurons under a constant current: reset, surrogate and slope; None: no such neurons.
    """

    arrays: Bits
    layout: Layout
    neurons: tuple[Any, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """[time, batch, height, width, channels] or [time, batch, neurons], as `unpack` returns them."""
        batch, time, _ = self.arrays.bits.shape
        return time, batch, *self.layout.shape


def _pad(array: Array, axis: int, size: int) -> Array:
    return jnp.pad(array, [(0, size - array.shape[axis] if n == axis else 0) for n in range(array.ndim)])


def zeros_for(bits: Array, *shape: int) -> Array:
    """Zeros that `jax.vmap` maps if it maps the bits; otherwise it would add up the gradients of what it maps."""
    return jnp.broadcast_to(0 * bits.sum(dtype=jnp.uint16), shape).astype(jnp.float32)


def no_gradient(x: Array) -> Any:
    """The cotangent of integers."""
    return np.zeros(x.shape, jax.dtypes.float0)


# --- conversions


def pack(x: Array, planes: int = 1) -> Spikes:
    """Packs an input sequence of spikes, or of counts, for `conv_lif` and `linear_lif`.

    Args:
        x: [time, batch, height, width, channels] or [time, batch, neurons], float32, uint8 or bool: 0 and 1, or whole
            numbers below 2^planes.
        planes: bits per number, 1 to 4. The layer that reads counts multiplies them by its weights.

    Returns:
        The spikes. Floats get a gradient: of a count, as if it were any number.

    Raises:
        ValueError: x has another shape or type, or is empty; or planes is another number.
        ValueError, jax.errors.JaxRuntimeError: x has other numbers; inside `jax.jit`, it's raised at run time.

    Examples:
        >>> import jax.numpy as jnp
        >>> from csnn_jax import ops
        >>> spikes = ops.pack(jnp.array([[[0, 1, 1]], [[1, 0, 0]]], jnp.uint8))
        >>> spikes.shape, ops.unpack(spikes)[1].tolist()
        ((2, 1, 3), [[1.0, 0.0, 0.0]])
    """
    if isinstance(x, Spikes):
        raise ValueError("x is spikes, which are packed already, expected an array")
    x = jnp.asarray(x)
    x = x.astype(jnp.uint8) if x.dtype == bool else x
    if not is_whole(planes) or not 1 <= planes <= limits().count_planes:
        raise ValueError(f"planes is {planes!r}, expected a whole number from 1 to {limits().count_planes}")
    if x.ndim not in (3, 5) or 0 in x.shape:
        raise ValueError(
            f"x is {list(x.shape)}, expected [time, batch, height, width, channels] or [time, batch, neurons], none 0"
        )
    if x.dtype not in (jnp.uint8, jnp.float32):
        raise ValueError(f"x is {x.dtype}, expected float32, uint8 or bool")
    shape = x.shape[2:]
    positions, channels = math.prod(shape[:-1]), shape[-1]
    arrays = pack_arrays(x.reshape(*x.shape[:2], positions, channels), planes)
    return Spikes(arrays, Layout(shape, (planes * channels,), planes))


def _pack_backward(planes: int, x: Array, cotangent: Bits) -> tuple[Any]:
    del planes
    if cotangent.port is None:
        return (no_gradient(x),)
    time, batch, positions, channels = x.shape
    # Incrementing a count increments its first plane.
    return (cast(Array, cotangent.port).reshape(batch, time, positions, -1)[..., :channels].swapaxes(0, 1),)


@differentiable(_pack_backward, 1)
def pack_arrays(x: Array, planes: int = 1) -> tuple[Bits, Array]:
    """Packs whole numbers [time, batch, positions, channels].

    A count is spread over `planes` channels, bit by bit: channel p * channels + c has bit p of channel c's count. The
    weights of plane p then count 2^p times, see `with_planes`.
    """
    time, batch, positions, channels = x.shape
    width, of_bytes = padded(planes * channels), x.dtype == jnp.uint8
    floats, as_bytes = (None, x) if of_bytes else (x, None)
    bits = call("pack", floats=floats, bytes=as_bytes, planes=planes, words=width // LANES)["bits"]
    return Bits(bits, None if of_bytes else zeros_for(bits, batch, time, positions * width)), x


def unpack(spikes: Spikes) -> Array:
    """The spikes as 0 and 1.

    Args:
        spikes: the spikes of a layer, or packed input. (Of counts, it returns bit 0.)

    Returns:
        [time, batch, height, width, channels] or [time, batch, neurons], float32. Its gradient is the spikes'.

    Examples:
        >>> import jax.numpy as jnp
        >>> from csnn_jax import ops
        >>> ops.unpack(ops.pack(jnp.array([[[1, 0, 1]]], jnp.uint8))).tolist()
        [[[1.0, 0.0, 1.0]]]
    """
    check_spikes(spikes)
    return spikes.layout.gathered(_unpack(spikes.arrays)).swapaxes(0, 1)


@differentiable(lambda bits, cotangent: (Bits(no_gradient(bits), cotangent),))
def _unpack(arrays: Bits) -> tuple[Array, Array]:
    if isinstance(arrays.port, Product):
        raise ValueError("these spikes have a gradient only for the layer that `feeds` announced")
    return dense(arrays.bits), arrays.bits


def dense(bits: Array) -> Array:
    """Bits [..., neurons / 16] as 0 and 1, [..., neurons] float32."""
    place = jnp.left_shift(jnp.uint16(1), jnp.arange(LANES, dtype=jnp.uint16))
    return ((bits[..., None] & place) != 0).reshape(*bits.shape[:-1], -1).astype(jnp.float32)


def side_by_side(spikes: Sequence[Spikes]) -> Spikes:
    """The channels of several layers side by side, for a layer that reads all of them.

    A layer whose weights repeat for each reads their sum: a residual connection.

    Args:
        spikes: of equal steps, batches, heights and widths.

    Returns:
        Their spikes, with the first layer's channels first.

    Raises:
        ValueError: the shapes differ, or some are counts.

    Examples:
        >>> import jax.numpy as jnp
        >>> from csnn_jax import ops
        >>> spikes = [ops.pack(jnp.array([[row]], jnp.uint8)) for row in ([0, 1], [1, 0, 0])]
        >>> ops.unpack(ops.side_by_side(spikes)).tolist()
        [[[0.0, 1.0, 1.0, 0.0, 0.0]]]
    """
    if not isinstance(spikes, list | tuple) or not spikes:
        raise ValueError(f"spikes is {spikes if spikes == [] else type(spikes).__name__}, expected a list of spikes")
    for one in spikes:
        check_spikes(one)
        if one.layout.planes > 1:
            raise ValueError("spikes are counts, expected 0 and 1")
    shapes = [one.shape for one in spikes]
    if len({shape[:-1] for shape in shapes}) > 1:
        raise ValueError(f"spikes have the shapes {', '.join(map(str, shapes))}, which differ not only in channels")
    layouts = [one.layout for one in spikes]
    parts = tuple(part for layout in layouts for part in layout.parts)
    layout = Layout((*layouts[0].shape[:-1], sum(parts)), parts)
    bits = _joined([one.arrays.bits for one in spikes], [layout.width // LANES for layout in layouts])
    ports = [one.arrays.port for one in spikes]
    port: Array | None = None
    if any(isinstance(port, Product) for port in ports):
        raise ValueError("these spikes have a gradient only for the layer that `feeds` announced")
    if any(port is not None for port in ports):
        zeros = [jnp.zeros((*bits.shape[:2], one.layout.neurons), jnp.float32) for one in spikes]
        filled = [zero if port is None else port for port, zero in zip(ports, zeros, strict=True)]
        port = _joined(filled, [layout.width for layout in layouts])
    return Spikes(Bits(bits, port), layout)


def _joined(arrays: list[Any], widths: list[int]) -> Array:
    """Arrays [batch, time, positions * width], joined position by position."""
    lead = arrays[0].shape[:2]
    split = [array.reshape(*lead, -1, width) for array, width in zip(arrays, widths, strict=True)]
    return jnp.concatenate(split, -1).reshape(*lead, -1)


def check_spikes(value: object) -> None:
    """Raises ValueError unless a value is `Spikes`."""
    if not isinstance(value, Spikes):
        kind = type(value).__name__
        raise ValueError(f"expected spikes, but this is of type {kind}; pass a layer's .spikes or those of `ops.pack`")


def is_whole(value: object) -> bool:
    """Whether a setting is a whole number that's known when JAX traces the function."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def with_planes(kernel: Array, planes: int) -> Array:
    """Weights for `pack`'s bits [..., planes * inputs, outputs], equivalent to `kernel` for the counts."""
    return kernel if planes == 1 else jnp.concatenate([kernel * 2.0**plane for plane in range(planes)], axis=-2)


def ever(bits: Array) -> Array:
    """Which neurons spiked at any step: bits [batch, time, neurons / 16] to [batch, neurons / 16]."""
    return jax.lax.reduce(bits, np.uint16(0), jax.lax.bitwise_or, (1,))
