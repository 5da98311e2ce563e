"""The event engine's operations: a layer's whole window at once, each with its own `jax.custom_vjp`.

Spikes travel as bits, and bits have no gradient. So `Spikes` carries beside them a `port`: zeros of the
spikes' dense shape, read by nobody (XLA drops them), whose cotangent is the gradient of the spikes. A layer
that takes spikes ignores the port in the forward pass and gives its gradient in the backward pass.

Shapes: everything is image-major, [batch, time, neurons]; channels are rounded up to a multiple of 16
(`bits.padded`), with weights of zero. See native/kernels.h.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from csnn_jax.engine.bits import (
    LANES,
    Drive,
    Product,
    Rule,
    Spikes,
    Window,
    call,
    float_of,
    no_gradient,
    words_of,
)

DATA, SPIKES, CONSTANT = range(3)


def _multiply(product: Product) -> Array:
    return jnp.einsum("bto,io->bti", product.left, product.right)


def _without_values(spikes: Spikes) -> Spikes:
    """Spikes for the backward pass: the kind of port is all it needs, unless it is a `Drive`."""
    if isinstance(spikes.port, Product):
        return spikes._replace(port=Product(jnp.zeros(()), jnp.zeros(())))
    return spikes if spikes.port is None or isinstance(spikes.port, Drive) else spikes._replace(port=jnp.zeros(()))


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
    bits, membranes, last = call(
        "constant_lif",
        (words_of(batch, time, count // LANES), float_of(*kept), float_of(batch, count)),
        current,
        beta,
        threshold,
        reset=rule.reset_number,
        channels=np.int64(channels[0]),
        stride=np.int64(channels[1]),
    )
    return Window(Spikes(bits, _ports(bits)), last, membranes), (membranes, beta, threshold)


def _constant_lif_backward(rule, time, channels, saved, cotangent):
    del time, channels
    membranes, beta, threshold = saved
    dcurrent, dbeta, dthreshold = _lif_backward(rule, membranes, beta, threshold, cotangent.spikes.port)
    return dcurrent.sum(1), dbeta, dthreshold


constant_lif.defvjp(_constant_lif_forward, _constant_lif_backward)


def _lif_backward(rule: Rule, membranes: Array, beta: Array, threshold: Array, dspikes: Array):
    """(dcurrent [batch, time, neurons], dbeta, dthreshold) of neurons whose membranes were kept."""
    batch, _, _ = membranes.shape
    dcurrent, dbeta, dthreshold = jax.ffi.ffi_call(
        "csnn_lif_backward",
        (float_of(*membranes.shape), float_of(batch), float_of(batch)),
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
    bits, membranes, last = call(
        "linear_lif",
        (words_of(batch, time, outputs // LANES), float_of(*kept), float_of(batch, outputs)),
        spikes.bits,
        kernel,
        bias,
        beta,
        threshold,
        reset=rule.reset_number,
        channels=np.int64(channels),
    )
    saved = _without_values(spikes), kernel, membranes, beta, threshold
    return Window(Spikes(bits, _ports(bits)), last, membranes), saved


def _linear_lif_backward(rule, channels, saved, cotangent):
    del channels
    spikes, kernel, membranes, beta, threshold = saved
    dcurrent, dbeta, dthreshold = _lif_backward(rule, membranes, beta, threshold, cotangent.spikes.port)
    dkernel = call("linear_weights", float_of(*kernel.shape), spikes.bits, dcurrent)
    # The gradient of the input is dense, so it is XLA's matrix product.
    if spikes.port is None:
        dspikes = None
    elif isinstance(spikes.port, Product):
        dspikes = Product(dcurrent, kernel)
    else:
        dspikes = _multiply(Product(dcurrent, kernel))
    into = Spikes(no_gradient(spikes.bits), dspikes)
    # As a product, for XLA's sum over the first axes of an array runs on one thread.
    dbias = jnp.ones(dcurrent.shape[0] * dcurrent.shape[1]) @ dcurrent.reshape(-1, dcurrent.shape[2])
    return into, dkernel, dbias, dbeta, dthreshold


linear_lif.defvjp(_linear_lif_forward, _linear_lif_backward)


# --- convolution, pooling


@partial(jax.custom_vjp, nondiff_argnums=(5, 6, 7, 8, 9))
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
    product_width: int | None = None,
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
        product_width: where a linear layer comes next, its outputs; the gradient then is a `Product`.

    Returns:
        The layer's window, of height // 2 * width // 2 * out neurons.
    """
    fixed = rule, channels, size, max_pool, product_width
    return _conv_lif_forward(spikes, kernel, bias, beta, threshold, *fixed)[0]


def _conv_lif_forward(spikes, kernel, bias, beta, threshold, rule, channels, size, max_pool, product_width=None):
    batch, time, _ = spikes.bits.shape
    neurons = (size[0] // 2) * (size[1] // 2) * kernel.shape[-1]
    kept = (batch, time, neurons) if rule.keep else (0,)
    winning = batch if rule.keep and max_pool else 0
    bits, membranes, winners, last = call(
        "conv_lif",
        (
            words_of(batch, time, neurons // LANES),
            float_of(*kept),
            words_of(winning, time, 2, neurons // LANES),
            float_of(batch, neurons),
        ),
        spikes.bits,
        kernel,
        bias,
        beta,
        threshold,
        size=np.array(size, np.int64),
        reset=rule.reset_number,
        channels=np.int64(channels),
        max=np.int64(max_pool),
    )
    port = _ports(bits)
    if product_width is not None:
        port = Product(jnp.zeros((batch, time, product_width)), jnp.zeros((neurons, product_width)))
    saved = _without_values(spikes), kernel, membranes, winners, beta, threshold
    return Window(Spikes(bits, port), last, membranes), saved


def _conv_lif_backward(rule, channels, size, max_pool, product_width, saved, cotangent):
    del channels, product_width
    spikes, kernel, membranes, winners, beta, threshold = saved
    drive, dspikes = spikes.port, cotangent.spikes.port
    batch, time, words = spikes.bits.shape
    k, _, inputs, outputs = kernel.shape
    grouped = kernel.reshape(k * k, inputs // LANES, LANES, outputs).transpose(1, 3, 0, 2)
    given = rule.given(membranes, threshold)
    behind = drive if isinstance(drive, Drive) else Drive(jnp.zeros((0,), jnp.float32), beta, threshold)
    source = DATA if drive is None else CONSTANT if isinstance(drive, Drive) else SPIKES

    empty = jnp.zeros((0,), jnp.float32)
    left = right = empty
    if isinstance(dspikes, Product):
        cells = (size[0] // 2) * (size[1] // 2)
        left, right = dspikes.left, dspikes.right.reshape(cells, outputs, -1).swapaxes(1, 2)
        dspikes = empty
    into = {DATA: (0,), CONSTANT: (batch, words * LANES), SPIKES: (batch, time, words * LANES)}[source]
    dkernel, dbias, dbeta, dthreshold, din = call(
        "conv_backward",
        (float_of(*kernel.shape), float_of(outputs), float_of(batch), float_of(batch), float_of(*into)),
        dspikes,
        left,
        right,
        membranes,
        given,
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
    dbeta, dthreshold = dbeta.sum(), dthreshold.sum()
    if source == DATA:
        port = None
    elif source == CONSTANT:  # only where beta and threshold are not learnt
        port = Drive(din, jnp.zeros_like(beta), jnp.zeros_like(threshold))
    else:
        port = din
    return Spikes(no_gradient(spikes.bits), port), dkernel, dbias, dbeta, dthreshold


conv_lif.defvjp(_conv_lif_forward, _conv_lif_backward)
