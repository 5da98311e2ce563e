"""The event engine's operations: a layer's whole window at once, each with its own `jax.custom_vjp`.

Spikes travel as bits, and bits have no gradient. So `Spikes` carries beside them a `port`: zeros of the spikes' dense
shape, read by nobody (XLA drops them), whose cotangent is the gradient of the spikes. A layer that takes spikes ignores
the port in the forward pass and gives its gradient in the backward pass.

Shapes: everything is image-major, [batch, time, neurons]; channels are rounded up to a multiple of 16 (`padded`), with
weights of zero. See native/kernels.h.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from csnn_jax.config import Reset
from csnn_jax.surrogate import Derivative

LANES = 16
RESETS: tuple[Reset, ...] = ("subtract", "zero", "none")
SURROGATES = (
    "fast_sigmoid",
    "atan",
    "sigmoid",
    "straight_through",
    "triangular",
    "heaviside",
    "spike_rate_escape",
    "sparse_fast_sigmoid",
    "leaky_spike",
)
DATA, SPIKES, CONSTANT = range(3)


class Rule(NamedTuple):
    """What is fixed about a layer's neurons (hashable, so that it can be a static argument).

    Attributes:
        reset: "subtract", "zero" or "none".
        surrogate: one of SURROGATES, or a derivative of the user's, any JAX function of U - threshold.
        slope: sharpness of a named surrogate.
        keep: whether the backward pass will be wanted; without, membranes are not stored.
    """

    reset: Reset
    surrogate: str | Derivative
    slope: float
    keep: bool

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of a backward operation."""
        named = isinstance(self.surrogate, str)
        number = SURROGATES.index(self.surrogate) if named else len(SURROGATES)
        return {"reset": _reset(self), "surrogate": np.int64(number), "slope": np.float32(self.slope)}

    def given(self, membranes: Array, threshold: Array) -> Array:
        """The derivative at every membrane where the kernels cannot compute it, else nothing."""
        if isinstance(self.surrogate, str):
            return jnp.zeros((0,), jnp.float32)
        return self.surrogate(membranes - threshold).astype(jnp.float32)


class Drive(NamedTuple):
    """Neurons behind spikes whose gradient is summed over time at once: current [batch, neurons], beta, threshold."""

    current: Array
    beta: Array
    threshold: Array


class Spikes(NamedTuple):
    """Spikes of one layer.

    Attributes:
        bits: [batch, time, neurons / 16] uint16; neuron n is bit n % 16 of word n // 16.
        port: [batch, time, neurons] zeros that carry the gradient; a `Drive` where it is carried by a constant current
            instead; None where none is wanted.
    """

    bits: Array
    port: Array | Drive | None


class Window(NamedTuple):
    """What a layer did over the whole window.

    Attributes:
        spikes: its spikes, which carry the gradient.
        last: membranes after the last step [batch, neurons]; no gradient.
        membranes: [batch, time, neurons], or [0] where they are not kept; no gradient.
    """

    spikes: Spikes
    last: Array
    membranes: Array


def padded(channels: int) -> int:
    """Channels rounded up to a multiple of the vector width."""
    return -(-channels // LANES) * LANES


def _reset(rule: Rule) -> np.int64:
    return np.int64(RESETS.index(rule.reset))


def _float(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _words(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.uint16)


def _call(name: str, results: Any, *arguments: Array, **attributes: Any) -> Any:
    return jax.ffi.ffi_call(f"csnn_{name}", results)(*arguments, **attributes)


def _no_gradient(x: Array) -> np.ndarray:
    return np.zeros(x.shape, jax.dtypes.float0)


def _ports(bits: Array) -> Array:
    return jnp.zeros((*bits.shape[:2], bits.shape[2] * LANES), jnp.float32)


# --- neurons under a constant current


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def constant_lif(
    current: Array, beta: Array, threshold: Array, rule: Rule, time: int, channels: tuple[int, int]
) -> Window:
    """Neurons driven by the same current at every step.

    Args:
        current: I [batch, neurons].
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
        rule: the neurons' kind.
        time: steps.
        channels: (channels that exist, channels after rounding up).

    Returns:
        The layer's window.
    """
    return _constant_lif_forward(current, beta, threshold, rule, time, channels)[0]


def _constant_lif_forward(current, beta, threshold, rule, time, channels):
    batch, count = current.shape
    kept = (batch, time, count) if rule.keep else (0,)
    bits, membranes, last = _call(
        "constant_lif",
        (_words(batch, time, count // LANES), _float(*kept), _float(batch, count)),
        current,
        beta,
        threshold,
        reset=_reset(rule),
        channels=np.int64(channels[0]),
        stride=np.int64(channels[1]),
    )
    return Window(Spikes(bits, _ports(bits)), last, membranes), (membranes, beta, threshold)


def _constant_lif_backward(rule, time, channels, saved, cotangent):
    del time, channels
    dcurrent, dbeta, dthreshold = _lif_backward(rule, *saved, cotangent.spikes.port)
    return dcurrent.sum(1), dbeta, dthreshold


constant_lif.defvjp(_constant_lif_forward, _constant_lif_backward)


def _lif_backward(rule: Rule, membranes: Array, beta: Array, threshold: Array, dspikes: Array):
    """(dcurrent [batch, time, neurons], dbeta, dthreshold) of neurons whose membranes were kept."""
    batch, _, _ = membranes.shape
    dcurrent, dbeta, dthreshold = jax.ffi.ffi_call(
        "csnn_lif_backward",
        (_float(*membranes.shape), _float(batch), _float(batch)),
        input_output_aliases={0: 0},
    )(dspikes, membranes, rule.given(membranes, threshold), beta, threshold, **rule.attributes)
    return dcurrent, dbeta.sum(), dthreshold.sum()


# --- linear layer


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def linear_lif(
    spikes: Spikes, kernel: Array, bias: Array, beta: Array, threshold: Array, rule: Rule, channels: int
) -> Window:
    """A linear layer and its neurons.

    Args:
        spikes: of the layer before, [batch, time, inputs].
        kernel: [inputs, outputs], both multiples of 16.
        bias: [outputs].
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
        rule: the neurons' kind.
        channels: outputs that exist.

    Returns:
        The layer's window.
    """
    return _linear_lif_forward(spikes, kernel, bias, beta, threshold, rule, channels)[0]


def _linear_lif_forward(spikes, kernel, bias, beta, threshold, rule, channels):
    batch, time, _ = spikes.bits.shape
    outputs = kernel.shape[1]
    kept = (batch, time, outputs) if rule.keep else (0,)
    bits, membranes, last = _call(
        "linear_lif",
        (_words(batch, time, outputs // LANES), _float(*kept), _float(batch, outputs)),
        spikes.bits,
        kernel,
        bias,
        beta,
        threshold,
        reset=_reset(rule),
        channels=np.int64(channels),
    )
    saved = spikes._replace(port=None if spikes.port is None else 0), kernel, membranes, beta, threshold
    return Window(Spikes(bits, _ports(bits)), last, membranes), saved


def _linear_lif_backward(rule, channels, saved, cotangent):
    del channels
    spikes, kernel, membranes, beta, threshold = saved
    dcurrent, dbeta, dthreshold = _lif_backward(rule, membranes, beta, threshold, cotangent.spikes.port)
    dkernel = _call("linear_weights", _float(*kernel.shape), spikes.bits, dcurrent)
    # The gradient of the input is dense, so it is XLA's matrix product.
    dspikes = None if spikes.port is None else jnp.einsum("bto,io->bti", dcurrent, kernel)
    into = Spikes(_no_gradient(spikes.bits), dspikes)
    return into, dkernel, dcurrent.sum((0, 1)), dbeta, dthreshold


linear_lif.defvjp(_linear_lif_forward, _linear_lif_backward)


# --- convolution, pooling


@partial(jax.custom_vjp, nondiff_argnums=(5, 6, 7, 8))
def conv_lif(
    spikes: Spikes,
    kernel: Array,
    bias: Array,
    beta: Array,
    threshold: Array,
    rule: Rule,
    channels: int,
    size: tuple[int, int],
    max_pool: bool,
) -> Window:
    """Convolution (stride 1, zero padding that keeps the size), 2x2 pooling and the neurons.

    Args:
        spikes: of the layer before, [batch, time, height * width * in].
        kernel: [k, k, in, out], in and out multiples of 16.
        bias: [out].
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
        rule: the neurons' kind.
        channels: output channels that exist.
        size: height and width of the input, pixels.
        max_pool: max-pool, else average.

    Returns:
        The layer's window, of height // 2 * width // 2 * out neurons.
    """
    return _conv_lif_forward(spikes, kernel, bias, beta, threshold, rule, channels, size, max_pool)[0]


def _conv_lif_forward(spikes, kernel, bias, beta, threshold, rule, channels, size, max_pool):
    batch, time, _ = spikes.bits.shape
    neurons = (size[0] // 2) * (size[1] // 2) * kernel.shape[-1]
    kept = (batch, time, neurons) if rule.keep else (0,)
    winning = batch if rule.keep and max_pool else 0
    bits, membranes, winners, last = _call(
        "conv_lif",
        (
            _words(batch, time, neurons // LANES),
            _float(*kept),
            _words(winning, time, 2, neurons // LANES),
            _float(batch, neurons),
        ),
        spikes.bits,
        kernel,
        bias,
        beta,
        threshold,
        size=np.array(size, np.int64),
        reset=_reset(rule),
        channels=np.int64(channels),
        max=np.int64(max_pool),
    )
    port = spikes.port if spikes.port is None or isinstance(spikes.port, Drive) else 0
    saved = spikes._replace(port=port), kernel, membranes, winners, beta, threshold
    return Window(Spikes(bits, _ports(bits)), last, membranes), saved


def _conv_lif_backward(rule, channels, size, max_pool, saved, cotangent):
    del channels
    spikes, kernel, membranes, winners, beta, threshold = saved
    drive = spikes.port
    batch, time, words = spikes.bits.shape
    if drive is None:
        source, into = DATA, (0,)
    elif isinstance(drive, Drive):
        source, into = CONSTANT, drive.current.shape
    else:
        source, into = SPIKES, (batch, time, words * LANES)
    behind = drive if isinstance(drive, Drive) else Drive(jnp.zeros((0,), jnp.float32), beta, threshold)
    k, _, inputs, outputs = kernel.shape
    grouped = kernel.reshape(k * k, inputs // LANES, LANES, outputs).transpose(1, 3, 0, 2)
    dkernel, dbias, dbeta, dthreshold, din = _call(
        "conv_backward",
        (_float(*kernel.shape), _float(outputs), _float(batch), _float(batch), _float(*into)),
        cotangent.spikes.port,
        membranes,
        rule.given(membranes, threshold),
        winners,
        spikes.bits,
        kernel,
        grouped,
        beta,
        threshold,
        *behind,
        size=np.array(size, np.int64),
        max=np.int64(max_pool),
        source=np.int64(source),
        **rule.attributes,
    )
    if source == DATA:
        port = None
    elif source == CONSTANT:  # only where beta and threshold are not learnt
        port = Drive(din, jnp.zeros_like(beta), jnp.zeros_like(threshold))
    else:
        port = din
    return Spikes(_no_gradient(spikes.bits), port), dkernel, dbias, dbeta.sum(), dthreshold.sum()


conv_lif.defvjp(_conv_lif_forward, _conv_lif_backward)


# --- bits


def count(spikes: Spikes) -> Array:
    """Spikes of each image [batch]."""
    return _call("count_spikes", _float(spikes.bits.shape[0]), spikes.bits)


def pack(x: Array) -> Spikes:
    """Bits of binary data x [batch, time, positions, channels]; channels are rounded up to a multiple of 16.

    Whatever is not 0 counts as a spike.
    """
    batch, time, _, channels = x.shape
    x = jnp.pad(x != 0, ((0, 0), (0, 0), (0, 0), (0, padded(channels) - channels)))
    place = jnp.left_shift(jnp.uint16(1), jnp.arange(LANES, dtype=jnp.uint16))
    bits = jnp.where(x.reshape(batch, time, -1, LANES), place, jnp.uint16(0)).sum(-1, dtype=jnp.uint16)
    return Spikes(bits, None)


@jax.custom_vjp
def unpack(spikes: Spikes) -> Array:
    """The spikes as 0 and 1, [batch, time, neurons] float32."""
    place = jnp.left_shift(jnp.uint16(1), jnp.arange(LANES, dtype=jnp.uint16))
    dense = (spikes.bits[..., None] & place) != 0
    return dense.reshape(*spikes.bits.shape[:2], -1).astype(jnp.float32)


def _unpack_backward(bits: Array, cotangent: Array) -> tuple[Spikes]:
    return (Spikes(_no_gradient(bits), cotangent),)  # type: ignore[arg-type]  # float0 stands for no gradient


unpack.defvjp(lambda spikes: (unpack(spikes), spikes.bits), _unpack_backward)
