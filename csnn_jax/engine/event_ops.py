"""The event engine's operations: a layer's whole window at once, each with its own `jax.custom_vjp`.

Spikes are passed as bits, which have no gradient. So `Spikes` also has a `port`: zeros with the spikes' dense shape,
which nothing reads (XLA drops them), and whose cotangent is the gradient of the spikes. A layer that receives spikes
ignores the port in the forward pass and returns its gradient in the backward pass.

Shapes: everything is image-major, [batch, time, neurons]; channels are padded to a multiple of 16 (`bits.padded`), with
zero weights. kernels.py calls the kernels.
"""

import math
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array

from csnn_jax.engine import fixed, kernels
from csnn_jax.engine.bits import (
    LANES,
    ConstantCurrent,
    LayerOutput,
    NeuronValues,
    Outside,
    Port,
    Product,
    Rule,
    Spikes,
    no_gradient,
)
from csnn_jax.engine.plan import Stage


def _without_values(spikes: Spikes) -> Spikes:
    """Spikes for the backward pass, which only needs the kind of port, unless it's a `ConstantCurrent`."""
    if isinstance(spikes.port, Product):
        return spikes._replace(port=Product(jnp.zeros(()), jnp.zeros(())))
    if isinstance(spikes.port, Outside):
        return spikes._replace(port=Outside(jnp.zeros(())))
    if spikes.port is None or isinstance(spikes.port, ConstantCurrent):
        return spikes
    return spikes._replace(port=jnp.zeros(()))


def _window(fired: kernels.Fired[Array] | kernels.ConvFired[Array], port: Product | None = None) -> LayerOutput:
    """A layer's window; the port of its spikes is zeros unless another one is given."""
    batch, time, words = fired.bits.shape
    zeros = jnp.zeros((batch, time, words * LANES), jnp.float32)
    return LayerOutput(Spikes(fired.bits, zeros if port is None else port), fired.last, fired.membranes)


# --- neurons under a constant current


class _Neurons(NamedTuple):
    """What the backward pass of a layer's neurons needs."""

    membranes: Array
    values: NeuronValues

    def gradients(self, dbeta: Array, dthreshold: Array) -> NeuronValues:
        """The cotangent of the values."""
        mask: Any = None if self.values.mask is None else no_gradient(self.values.mask)
        return NeuronValues(dbeta, dthreshold, mask)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def constant_lif(current: Array, values: NeuronValues, rule: Rule, time: int, channels: tuple[int, int]) -> LayerOutput:
    """Neurons driven by the same current at every step.

    Args:
        current: I [batch, neurons].
        values: the neurons' parameters.
        rule: the neurons' settings.
        time: number of steps.
        channels: (channels without padding, channels with padding).

    Returns:
        The layer's window.
    """
    return _constant_lif_forward(current, values, rule, time, channels)[0]


def _constant_lif_forward(
    current: Array, values: NeuronValues, rule: Rule, time: int, channels: tuple[int, int]
) -> tuple[LayerOutput, _Neurons]:
    constant = ConstantCurrent(current, values.beta, values.threshold)
    fired = kernels.constant_lif(constant, rule, time, channels)
    return _window(fired), _Neurons(fired.membranes, values)


def _constant_lif_backward(
    rule: Rule, time: int, channels: tuple[int, int], saved: _Neurons, cotangent: LayerOutput
) -> tuple[Array, NeuronValues]:
    del time, channels
    gradients, dvalues = _lif_backward(rule, saved, cotangent)
    return gradients.total, dvalues


constant_lif.defvjp(_constant_lif_forward, _constant_lif_backward)


def _lif_backward(
    rule: Rule, saved: _Neurons, cotangent: LayerOutput
) -> tuple[kernels.LifGradients[Array], NeuronValues]:
    """The gradients of neurons whose membranes were kept, and of their parameters."""
    membranes, (beta, threshold, _) = saved
    given, dspikes = rule.given(membranes, saved.values), cast(Array, cotangent.spikes.port)
    if rule.read:
        # Nothing reads these neurons' spikes. The kernel gets the membranes' gradient as dS, with a derivative of 1.
        # Only the threshold's gradient then has an extra term, which is removed below.
        dspikes, given = cotangent.membranes, jnp.ones_like(membranes)
    gradients = kernels.lif_backward(kernels.LifBackward(dspikes, membranes, given, beta, threshold), rule)
    dthreshold = fixed.add_up(gradients.dthreshold)
    if rule.read:
        dthreshold += fixed.add_up(cotangent.membranes)
    return gradients, saved.gradients(fixed.add_up(gradients.dbeta), dthreshold)


# --- linear layer


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def linear_lif(
    spikes: Spikes, kernel: Array, bias: Array, values: NeuronValues, rule: Rule, channels: int
) -> LayerOutput:
    """A linear layer and its neurons.

    Args:
        spikes: of the previous layer, [batch, time, inputs].
        kernel: [inputs, outputs], both multiples of 16.
        bias: [outputs].
        values: the neurons' parameters.
        rule: the neurons' settings.
        channels: number of outputs without padding.

    Returns:
        The layer's window.
    """
    return _linear_lif_forward(spikes, kernel, bias, values, rule, channels)[0]


class _Linear(NamedTuple):
    """What the backward pass of `linear_lif` needs."""

    spikes: Spikes
    kernel: Array
    neurons: _Neurons


def _linear_lif_forward(
    spikes: Spikes, kernel: Array, bias: Array, values: NeuronValues, rule: Rule, channels: int
) -> tuple[LayerOutput, _Linear]:
    operands = kernels.LayerOperands(spikes.bits, kernel, bias, values.beta, values.threshold)
    fired = kernels.linear_lif(operands, rule, channels)
    return _window(fired), _Linear(_without_values(spikes), kernel, _Neurons(fired.membranes, values))


def _linear_lif_backward(
    rule: Rule, channels: int, saved: _Linear, cotangent: LayerOutput
) -> tuple[Spikes, Array, Array, NeuronValues]:
    del channels
    spikes, kernel, neurons = saved
    gradients, dvalues = _lif_backward(rule, neurons, cotangent)
    dcurrent = gradients.dcurrent
    dkernel = kernels.linear_weights(spikes.bits, dcurrent)
    port: Port = None
    if isinstance(spikes.port, Product):
        port = Product(dcurrent, kernel)
    elif spikes.port is not None:
        dense = fixed.multiply(dcurrent.reshape(-1, dcurrent.shape[2]), kernel.T).reshape(*dcurrent.shape[:2], -1)
        port = Outside(dense) if isinstance(spikes.port, Outside) else dense
    into = Spikes(no_gradient(spikes.bits), port)
    return into, dkernel, fixed.add_up(gradients.total, 0), dvalues


linear_lif.defvjp(_linear_lif_forward, _linear_lif_backward)


# --- convolution, pooling


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def conv_lif(
    spikes: Spikes,
    kernel: Array,
    bias: Array,
    values: NeuronValues,
    rule: Rule,
    stage: Stage,
    product_width: int | None = None,
) -> LayerOutput:
    """Convolution, pooling and the neurons.

    Args:
        spikes: of the previous layer, [batch, time, height * width * in].
        kernel: [k, k, in, out], in and out multiples of 16.
        bias: [out].
        values: the neurons' parameters.
        rule: the neurons' settings.
        stage: its geometry, with channels without padding.
        product_width: number of outputs of the linear layer that follows, if the gradient is a `Product`.

    Returns:
        The layer's window, of rows * columns * out neurons.
    """
    return _conv_lif_forward(spikes, kernel, bias, values, rule, stage, product_width)[0]


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
    values: NeuronValues,
    rule: Rule,
    stage: Stage,
    product_width: int | None = None,
) -> tuple[LayerOutput, _Conv]:
    operands = kernels.LayerOperands(spikes.bits, kernel, bias, values.beta, values.threshold)
    fired = kernels.conv_lif(operands, rule, stage)
    port = None
    if product_width is not None:
        batch, time, words = fired.bits.shape
        port = Product(jnp.zeros((batch, time, product_width)), jnp.zeros((words * LANES, product_width)))
    neurons = _Neurons(fired.membranes, values)
    return _window(fired, port), _Conv(_without_values(spikes), kernel, fired.winners, neurons)


def _conv_lif_backward(
    rule: Rule, stage: Stage, product_width: int | None, saved: _Conv, cotangent: LayerOutput
) -> tuple[Spikes, Array, Array, NeuronValues]:
    del product_width
    spikes, kernel, winners, neurons = saved
    beta, threshold, _ = neurons.values
    dspikes, left, right = _factors(cotangent.spikes.port, stage, kernel.shape[-1])
    current_in, beta_in, threshold_in = spikes.port if isinstance(spikes.port, ConstantCurrent) else (None, None, None)
    source = _source(spikes)
    operands = kernels.ConvBackward(
        dspikes=dspikes,
        left=left,
        right=right,
        membranes=neurons.membranes,
        given=rule.given(neurons.membranes, neurons.values),
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
    gradients = kernels.conv_backward(operands, rule, stage, source)
    port: Port = gradients.din
    if source == "data":
        # A separate pass, which XLA drops if this gradient isn't used.
        wanted = isinstance(spikes.port, Outside)
        port = Outside(kernels.conv_backward(operands, rule, stage, "spikes").din) if wanted else None
    elif source == "constant":  # only if beta and threshold aren't learned
        port = ConstantCurrent(gradients.din, jnp.zeros_like(beta), jnp.zeros_like(threshold))
    into = Spikes(no_gradient(spikes.bits), port)
    dvalues = neurons.gradients(fixed.add_up(gradients.dbeta), fixed.add_up(gradients.dthreshold))
    return into, gradients.dkernel, gradients.dbias, dvalues


conv_lif.defvjp(_conv_lif_forward, _conv_lif_backward)


def _source(spikes: Spikes) -> kernels.Source:
    """The kind of source that a convolution's input spikes came from."""
    if spikes.port is None or isinstance(spikes.port, Outside):
        return "data"
    return "constant" if isinstance(spikes.port, ConstantCurrent) else "spikes"


def _factors(dspikes: Port, stage: Stage, channels: int) -> tuple[Array | None, ...]:
    """The kernel's (dspikes, left, right): either the gradient of the spikes, or the factors of a product."""
    if not isinstance(dspikes, Product):
        return cast(Array, dspikes), None, None
    cells = math.prod(stage.shape[:2])
    return None, dspikes.left, dspikes.right.reshape(cells, channels, -1).swapaxes(1, 2)


def _grouped(kernel: Array) -> Array:
    """A kernel [k, k, in, out] as [in / 16, out, k * k, 16]."""
    k, _, inputs, outputs = kernel.shape
    return kernel.reshape(k * k, inputs // LANES, LANES, outputs).transpose(1, 3, 0, 2)
