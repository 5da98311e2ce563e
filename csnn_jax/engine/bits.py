"""Spikes as bits, which the event engine's layers pass to each other, and conversions from and to dense arrays."""

from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from csnn_jax.config import SLOPELESS, Reset
from csnn_jax.engine.library import call, float_of, words_of
from csnn_jax.network import surrogate as surrogates
from csnn_jax.network.surrogate import Derivative

LANES = 16


class NeuronValues(NamedTuple):
    """The parameters of a layer's neurons.

    Attributes:
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
        mask: bits [batch, neurons / 16] of the neurons whose spikes the next layer gets; None: all. The layer's output
            has the spikes of all.
    """

    beta: Array
    threshold: Array
    mask: Array | None = None


class Rule(NamedTuple):
    """Static settings of a layer's neurons, a hashable argument of jitted functions.

    Attributes:
        reset: "subtract", "zero" or "none".
        surrogate: a name from the configuration, or the user's derivative, any JAX function of U - threshold.
        slope: sharpness of a named surrogate.
        keep: whether to store membranes for a backward pass.
        read: whether a gradient also flows back through the membranes; linear layers only.
        masked: whether dropout drops some neurons.
        weight_bits: bits of the layer's weights, without the sign, if they are integers times a scale for each neuron;
            kernels then add integers. 0: floats.
    """

    reset: Reset
    surrogate: str | Derivative
    slope: float
    keep: bool
    read: bool = False
    masked: bool = False
    weight_bits: int = 0

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of a backward operation."""
        surrogate = self.surrogate if self._named and not self.read else "given"
        return {"reset": self.reset, "surrogate": surrogate, "slope": np.float32(self.slope)}

    def derivative(self, x: Array) -> Array:
        """dS/dU at x = U - threshold."""
        if not isinstance(self.surrogate, str):
            return self.surrogate(x)
        function = surrogates.BY_NAME[self.surrogate]
        return function(x) if self.surrogate in SLOPELESS else function(x, self.slope)

    @property
    def _named(self) -> bool:
        """Whether the kernels can compute the derivative of every neuron."""
        return isinstance(self.surrogate, str) and not self.masked

    def given(self, membranes: Array, values: NeuronValues) -> Array | None:
        """The derivative at every membrane [batch, time, neurons]; None if the kernels can compute it.

        It's 0 for dropped neurons.
        """
        if self._named:
            return None
        derivative = surrogates.evaluated(self.derivative, membranes - values.threshold)
        return derivative if values.mask is None else derivative * _dense(values.mask)[:, None, :]


class ConstantCurrent(NamedTuple):
    """Neurons that take the gradient of their spikes summed over time.

    Attributes:
        current: I [batch, neurons], the same at every step.
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
    """

    current: Array
    beta: Array
    threshold: Array


class Product(NamedTuple):
    """A gradient of spikes as a product that isn't computed yet: left [batch, time, m] @ right [neurons, m] transposed.

    The layer that receives it multiplies image by image, and only what it needs, so the whole product is never in
    memory.
    """

    left: Array
    right: Array


class Outside(NamedTuple):
    """The port of an input sequence. Its gradient is only computed if the caller uses it, which is rare.

    Attributes:
        port: zeros, as in `Spikes`.
    """

    port: Array


Port = Array | Product | ConstantCurrent | Outside | None


class Spikes(NamedTuple):
    """The spikes of one layer as bits, and the port through which their gradient comes back.

    Attributes:
        bits: [batch, time, neurons / 16] uint16; neuron n is bit n % 16 of word n // 16.
        port: [batch, time, neurons] zeros that carry the gradient, or a `Product` of zeros; a `ConstantCurrent` if a
            constant current carries it instead; `Outside` for an input sequence; None: no gradient.
    """

    bits: Array
    port: Port


class LayerOutput(NamedTuple):
    """A layer's spikes and membranes over the whole window.

    Attributes:
        spikes: its spikes, which carry the gradient.
        last: membranes after the last step [batch, neurons]; no gradient.
        membranes: [batch, time, neurons], or [0] if they aren't kept; differentiable if the rule says so.
    """

    spikes: Spikes
    last: Array
    membranes: Array


def padded(channels: int) -> int:
    """Channels rounded up to a multiple of the vector width."""
    return -(-channels // LANES) * LANES


def no_gradient(x: Array) -> Any:
    """The cotangent of integers."""
    return np.zeros(x.shape, jax.dtypes.float0)


def count(spikes: Spikes) -> Array:
    """Spikes of each image [batch]; no gradient."""
    return _count(spikes.bits)


@jax.custom_vjp
def _count(bits: Array) -> Array:
    return call("count_spikes", {"bits": bits}, {"counts": float_of(bits.shape[0])})["counts"]


_count.defvjp(lambda bits: (_count(bits), bits), lambda bits, _: (no_gradient(bits),))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def pack(x: Array, planes: int = 1) -> Spikes:
    """Converts an input sequence of whole numbers to bits.

    A count is spread over `planes` channels, bit by bit: channel p * channels + c has bit p of channel c's count. The
    weights of plane p then count 2^p times, see `with_planes`.

    Args:
        x: [time, batch, positions, channels], whole numbers below 2^planes, floats or uint8; spikes with one plane.
        planes: bits per number.

    Returns:
        Bits of planes * channels at each position, rounded up to a multiple of 16. Only floats get a gradient.

    Raises:
        ValueError, jax.errors.JaxRuntimeError: at run time, for any other number.
    """
    time, batch, positions, channels = x.shape
    words = words_of(batch, time, positions * padded(planes * channels) // LANES)
    found = call("pack", {"x": x}, {"bits": words}, planes=np.int64(planes))["bits"]
    if x.dtype == jnp.uint8:
        return Spikes(found, None)
    return Spikes(found, Outside(jnp.zeros((batch, time, words.shape[2] * LANES), jnp.float32)))


def _pack_backward(planes: int, like: Array, cotangent: Spikes) -> tuple[Any]:
    del planes
    if cotangent.port is None:
        return (no_gradient(like),)
    outside = cast(Outside, cotangent.port)
    time, batch, positions, channels = like.shape
    # Incrementing a count increments its first plane.
    return (outside.port.reshape(batch, time, positions, -1)[..., :channels].swapaxes(0, 1),)


pack.defvjp(lambda x, planes: (pack(x, planes), x), _pack_backward)


def with_planes(kernel: Array, planes: int) -> Array:
    """Weights for `pack`'s bits that are equivalent to `kernel` for the counts.

    Args:
        kernel: [..., inputs, outputs].
        planes: as in `pack`.

    Returns:
        [..., planes * inputs, outputs].
    """
    return jnp.concatenate([kernel * 2.0**plane for plane in range(planes)], axis=-2)


@jax.custom_vjp
def unpack(spikes: Spikes) -> Array:
    """The spikes as 0 and 1, [batch, time, neurons] float32."""
    return _dense(spikes.bits)


def ever(bits: Array) -> Array:
    """Which neurons spiked at any step: bits [batch, time, neurons / 16] to [batch, neurons / 16]."""
    return jax.lax.reduce(bits, np.uint16(0), jax.lax.bitwise_or, (1,))


def _dense(bits: Array) -> Array:
    """Bits [..., neurons / 16] as 0 and 1, [..., neurons] float32."""
    place = jnp.left_shift(jnp.uint16(1), jnp.arange(LANES, dtype=jnp.uint16))
    dense = (bits[..., None] & place) != 0
    return dense.reshape(*bits.shape[:-1], -1).astype(jnp.float32)


def _unpack_backward(bits: Array, cotangent: Array) -> tuple[Spikes]:
    return (Spikes(no_gradient(bits), cotangent),)


unpack.defvjp(lambda spikes: (unpack(spikes), spikes.bits), _unpack_backward)
