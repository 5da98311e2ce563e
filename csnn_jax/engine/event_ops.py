"""The event engine's operations: a layer's whole window at once, each with its own `jax.custom_vjp`.

Spikes travel as bits, and bits have no gradient. So `Spikes` carries beside them a `port`: zeros of the
spikes' dense shape, read by nobody (XLA drops them), whose cotangent is the gradient of the spikes. A layer
that takes spikes ignores the port in the forward pass and gives its gradient in the backward pass.

Shapes: everything is image-major, [batch, time, neurons]; channels are rounded up to a multiple of 16
(`bits.padded`), with weights of zero. The kernels themselves are called in kernels.py.
"""

import math
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array

from csnn_jax.config import Layer
from csnn_jax.engine import kernels
from csnn_jax.engine.bits import LANES, Drive, LayerOutput, Outside, Product, Rule, Spikes, no_gradient


def _multiply(product: Product) -> Array:
    return jnp.einsum("bto,io->bti", product.left, product.right)


def _without_values(spikes: Spikes) -> Spikes:
    """Spikes for the backward pass: the kind of port is all it needs, unless it is a `Drive`."""
    if isinstance(spikes.port, Product):
        return spikes._replace(port=Product(jnp.zeros(()), jnp.zeros(())))
    if isinstance(spikes.port, Outside):
        return spikes._replace(port=Outside(jnp.zeros(())))
    return spikes if spikes.port is None or isinstance(spikes.port, Drive) else spikes._replace(port=jnp.zeros(()))


def _ports(bits: Array) -> Array:
    return jnp.zeros((*bits.shape[:2], bits.shape[2] * LANES), jnp.float32)


# --- neurons under a constant current


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def constant_lif(
    current: Array,
    beta: Array,
    threshold: Array,
    rule: Rule,
    time: int,
    channels: tuple[int, int],
    mask: Array | None = None,
) -> LayerOutput:
    """Neurons driven by the same current at every step.

    Args:
        current: I [batch, neurons].
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
        rule: the neurons' kind.
        time: steps.
        channels: (channels that exist, channels after rounding up).
        mask: bits [batch, neurons / 16] of the neurons whose spikes the next layer gets; None: all. The window has the
            spikes of all.

    Returns:
        The layer's window.
    """
    return _constant_lif_forward(current, beta, threshold, rule, time, channels, mask)[0]


class _Neurons(NamedTuple):
    """What the backward pass of a layer's neurons needs."""

    membranes: Array
    beta: Array
    threshold: Array
    mask: Array | None


def _constant_lif_forward(
    current: Array,
    beta: Array,
    threshold: Array,
    rule: Rule,
    time: int,
    channels: tuple[int, int],
    mask: Array | None = None,
) -> tuple[LayerOutput, _Neurons]:
    fired = kernels.constant_lif(Drive(current, beta, threshold), rule, time, channels)
    window = LayerOutput(Spikes(fired.bits, _ports(fired.bits)), fired.last, fired.membranes)
    return window, _Neurons(fired.membranes, beta, threshold, mask)


def _constant_lif_backward(
    rule: Rule, time: int, channels: tuple[int, int], saved: _Neurons, cotangent: LayerOutput
) -> tuple[Array, Array, Array, Any]:
    del time, channels
    dcurrent, dbeta, dthreshold = _lif_backward(rule, saved, cotangent)
    return dcurrent.sum(1), dbeta, dthreshold, _of_mask(saved.mask)


def _of_mask(mask: Array | None) -> Any:
    """The cotangent of a mask."""
    return None if mask is None else no_gradient(mask)


constant_lif.defvjp(_constant_lif_forward, _constant_lif_backward)


def _lif_backward(rule: Rule, saved: _Neurons, cotangent: LayerOutput) -> tuple[Array, Array, Array]:
    """(dcurrent [batch, time, neurons], dbeta, dthreshold) of neurons whose membranes were kept."""
    membranes, beta, threshold, mask = saved
    given, dspikes = rule.given(membranes, threshold, mask), cast(Array, cotangent.spikes.port)
    if rule.read:
        # dU has the membranes' own gradient added at every step. So the kernel takes sigma' dS + dmembranes for its dS,
        # with a derivative of 1, and only the threshold's gradient then has the membranes' part too much.
        sigma = rule.derivative(membranes - threshold).astype(jnp.float32)
        dspikes, given = sigma * dspikes + cotangent.membranes, jnp.ones_like(membranes)
    found = kernels.lif_backward(kernels.LifBackward(dspikes, membranes, given, beta, threshold), rule)
    dthreshold = found.dthreshold.sum()
    if rule.read:
        dthreshold += cotangent.membranes.sum()
    return found.dcurrent, found.dbeta.sum(), dthreshold


# --- linear layer


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def linear_lif(
    spikes: Spikes,
    kernel: Array,
    bias: Array,
    beta: Array,
    threshold: Array,
    rule: Rule,
    channels: int,
    mask: Array | None = None,
) -> LayerOutput:
    """A linear layer and its neurons.

    Args:
        spikes: of the layer before, [batch, time, inputs].
        kernel: [inputs, outputs], both multiples of 16.
        bias: [outputs].
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
        rule: the neurons' kind.
        channels: outputs that exist.
        mask: as `constant_lif` takes it.

    Returns:
        The layer's window.
    """
    return _linear_lif_forward(spikes, kernel, bias, beta, threshold, rule, channels, mask)[0]


class _Linear(NamedTuple):
    """What the backward pass of `linear_lif` needs."""

    spikes: Spikes
    kernel: Array
    neurons: _Neurons


def _linear_lif_forward(
    spikes: Spikes,
    kernel: Array,
    bias: Array,
    beta: Array,
    threshold: Array,
    rule: Rule,
    channels: int,
    mask: Array | None = None,
) -> tuple[LayerOutput, _Linear]:
    fired = kernels.linear_lif(kernels.LayerOperands(spikes.bits, kernel, bias, beta, threshold), rule, channels)
    window = LayerOutput(Spikes(fired.bits, _ports(fired.bits)), fired.last, fired.membranes)
    return window, _Linear(_without_values(spikes), kernel, _Neurons(fired.membranes, beta, threshold, mask))


def _linear_lif_backward(
    rule: Rule, channels: int, saved: _Linear, cotangent: LayerOutput
) -> tuple[Spikes, Array, Array, Array, Array, Any]:
    del channels
    spikes, kernel, neurons = saved
    dcurrent, dbeta, dthreshold = _lif_backward(rule, neurons, cotangent)
    dkernel = kernels.linear_weights(spikes.bits, dcurrent)
    # The gradient of the input is dense, so it is XLA's matrix product.
    dspikes: Array | Product | Outside | None
    if spikes.port is None:
        dspikes = None
    elif isinstance(spikes.port, Product):
        dspikes = Product(dcurrent, kernel)
    else:
        dspikes = _multiply(Product(dcurrent, kernel))
        if isinstance(spikes.port, Outside):
            dspikes = Outside(dspikes)
    into = Spikes(no_gradient(spikes.bits), dspikes)
    # As a product, for XLA's sum over the first axes of an array runs on one thread.
    dbias = jnp.ones(dcurrent.shape[0] * dcurrent.shape[1]) @ dcurrent.reshape(-1, dcurrent.shape[2])
    return into, dkernel, dbias, dbeta, dthreshold, _of_mask(neurons.mask)


linear_lif.defvjp(_linear_lif_forward, _linear_lif_backward)


# --- convolution, pooling


@partial(jax.custom_vjp, nondiff_argnums=(5, 6, 7))
def conv_lif(
    spikes: Spikes,
    kernel: Array,
    bias: Array,
    beta: Array,
    threshold: Array,
    rule: Rule,
    layer: Layer,
    product_width: int | None = None,
    mask: Array | None = None,
) -> LayerOutput:
    """Convolution, pooling and the neurons.

    Args:
        spikes: of the layer before, [batch, time, height * width * in].
        kernel: [k, k, in, out], in and out multiples of 16.
        bias: [out].
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
        rule: the neurons' kind.
        layer: its geometry, with the channels that exist.
        product_width: where a linear layer comes next, its outputs; the gradient then is a `Product`.
        mask: as `constant_lif` takes it.

    Returns:
        The layer's window, of rows * columns * out neurons.
    """
    return _conv_lif_forward(spikes, kernel, bias, beta, threshold, rule, layer, product_width, mask)[0]


class _Conv(NamedTuple):
    """What the backward pass of `conv_lif` needs."""

    spikes: Spikes
    kernel: Array
    winners: Array
    neurons: _Neurons


def _conv_lif_forward(
    spikes: Spikes,
    kernel: Array,
    bias: Array,
    beta: Array,
    threshold: Array,
    rule: Rule,
    layer: Layer,
    product_width: int | None = None,
    mask: Array | None = None,
) -> tuple[LayerOutput, _Conv]:
    fired = kernels.conv_lif(kernels.LayerOperands(spikes.bits, kernel, bias, beta, threshold), rule, layer)
    port: Array | Product = _ports(fired.bits)
    if product_width is not None:
        batch, time, words = fired.bits.shape
        port = Product(jnp.zeros((batch, time, product_width)), jnp.zeros((words * LANES, product_width)))
    window = LayerOutput(Spikes(fired.bits, port), fired.last, fired.membranes)
    neurons = _Neurons(fired.membranes, beta, threshold, mask)
    return window, _Conv(_without_values(spikes), kernel, fired.winners, neurons)


def _conv_lif_backward(
    rule: Rule,
    layer: Layer,
    product_width: int | None,
    saved: _Conv,
    cotangent: LayerOutput,
) -> tuple[Spikes, Array, Array, Array, Array, Any]:
    del product_width
    spikes, kernel, winners, (membranes, beta, threshold, mask) = saved
    dspikes, left, right = _factors(cotangent.spikes.port, layer, kernel.shape[-1])
    current_in, beta_in, threshold_in = spikes.port if isinstance(spikes.port, Drive) else (None, None, None)
    source = _source(spikes)
    operands = kernels.ConvBackward(
        dspikes=dspikes,
        left=left,
        right=right,
        membranes=membranes,
        given=rule.given(membranes, threshold, mask),
        winners=winners,
        bits_in=spikes.bits,
        kernel=kernel,
        grouped=_grouped(kernel),
        beta=beta,
        threshold=threshold,
        current_in=current_in,
        beta_in=beta_in,
        threshold_in=threshold_in,
    )
    found = kernels.conv_backward(operands, rule, layer, source)
    dbeta, dthreshold = found.dbeta.sum(), found.dthreshold.sum()
    port: Array | Drive | Outside | None = found.din
    if source == "data":
        # A pass of its own, which XLA leaves out where nobody wants this gradient.
        wanted = isinstance(spikes.port, Outside)
        port = Outside(kernels.conv_backward(operands, rule, layer, "spikes").din) if wanted else None
    elif source == "constant":  # only where beta and threshold are not learnt
        port = Drive(found.din, jnp.zeros_like(beta), jnp.zeros_like(threshold))
    into = Spikes(no_gradient(spikes.bits), port)
    return into, found.dkernel, found.dbias, dbeta, dthreshold, _of_mask(mask)


conv_lif.defvjp(_conv_lif_forward, _conv_lif_backward)


def _source(spikes: Spikes) -> kernels.Source:
    """The kind of source that a convolution's input spikes came from."""
    if spikes.port is None or isinstance(spikes.port, Outside):
        return "data"
    return "constant" if isinstance(spikes.port, Drive) else "spikes"


def _factors(
    dspikes: Array | Product | Drive | Outside | None, layer: Layer, channels: int
) -> tuple[Array | None, ...]:
    """(dspikes, left, right) as the kernel takes them: either the gradient of the spikes, or the two of a product."""
    if not isinstance(dspikes, Product):
        return cast(Array, dspikes), None, None
    cells = math.prod(layer.out_shape[:2])
    return None, dspikes.left, dspikes.right.reshape(cells, channels, -1).swapaxes(1, 2)


def _grouped(kernel: Array) -> Array:
    """A kernel [k, k, in, out] as [in / 16, out, k * k, 16]."""
    k, _, inputs, outputs = kernel.shape
    return kernel.reshape(k * k, inputs // LANES, LANES, outputs).transpose(1, 3, 0, 2)
