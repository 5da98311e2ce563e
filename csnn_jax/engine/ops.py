"""The event engine's operations: functions of arrays, for a layer's whole window at once, each with its gradient.

Spikes are passed as bits, which have no gradient. So `Spikes` also has a `port`: zeros with the spikes' dense shape,
which nothing reads (XLA drops them), and whose cotangent is the gradient of the spikes. A layer that receives spikes
ignores the port in the forward pass and returns its gradient in the backward pass.

Everything is image-major, [batch, time, neurons]. Channels are padded to a multiple of 16 (`padded`), with
zero weights.
"""

from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from csnn_jax.config import SLOPELESS, Pooling, Reset
from csnn_jax.engine.fixed import add_up, multiply
from csnn_jax.engine.library import LANES, call, differentiable, padded
from csnn_jax.network import layers
from csnn_jax.network import surrogate as surrogates
from csnn_jax.network.surrogate import Derivative


def no_gradient(x: Array) -> Any:
    """The cotangent of integers."""
    return np.zeros(x.shape, jax.dtypes.float0)


# --- spikes


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


@differentiable(lambda bits, _: (no_gradient(bits),))
def count(bits: Array) -> tuple[Array, Array]:
    """The number of spikes of each image [batch], from bits [batch, time, neurons / 16]; no gradient."""
    return call("count_spikes", bits=bits)["counts"], bits


def _pack_backward(planes: int, x: Array, cotangent: Spikes) -> tuple[Any]:
    del planes
    if cotangent.port is None:
        return (no_gradient(x),)
    outside = cast(Outside, cotangent.port)
    time, batch, positions, channels = x.shape
    # Incrementing a count increments its first plane.
    return (outside.port.reshape(batch, time, positions, -1)[..., :channels].swapaxes(0, 1),)


@differentiable(_pack_backward, 1)
def pack(x: Array, planes: int = 1) -> tuple[Spikes, Array]:
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
    width = padded(planes * channels)
    of_bytes = x.dtype == jnp.uint8
    floats, as_bytes = (None, x) if of_bytes else (x, None)
    bits = call("pack", floats=floats, bytes=as_bytes, planes=planes, words=width // LANES)["bits"]
    port = None if of_bytes else Outside(jnp.zeros((batch, time, positions * width), jnp.float32))
    return Spikes(bits, port), x


def with_planes(kernel: Array, planes: int) -> Array:
    """Weights for `pack`'s bits that are equivalent to `kernel` for the counts.

    Args:
        kernel: [..., inputs, outputs].
        planes: as in `pack`.

    Returns:
        [..., planes * inputs, outputs].
    """
    return jnp.concatenate([kernel * 2.0**plane for plane in range(planes)], axis=-2)


@differentiable(lambda bits, cotangent: (Spikes(no_gradient(bits), cotangent),))
def unpack(spikes: Spikes) -> tuple[Array, Array]:
    """The spikes as 0 and 1, [batch, time, neurons] float32."""
    return _dense(spikes.bits), spikes.bits


def ever(bits: Array) -> Array:
    """Which neurons spiked at any step: bits [batch, time, neurons / 16] to [batch, neurons / 16]."""
    return jax.lax.reduce(bits, np.uint16(0), jax.lax.bitwise_or, (1,))


def _dense(bits: Array) -> Array:
    """Bits [..., neurons / 16] as 0 and 1, [..., neurons] float32."""
    place = jnp.left_shift(jnp.uint16(1), jnp.arange(LANES, dtype=jnp.uint16))
    dense = (bits[..., None] & place) != 0
    return dense.reshape(*bits.shape[:-1], -1).astype(jnp.float32)


# --- neurons


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

    def cotangent(self, dbeta: Array, dthreshold: Array) -> "NeuronValues":
        """The gradient, from that of each image [batch]."""
        mask: Any = None if self.mask is None else no_gradient(self.mask)
        return NeuronValues(add_up(dbeta), add_up(dthreshold), mask)


class Rule(NamedTuple):
    """Static settings of a layer's neurons, a hashable argument of jitted functions.

    Attributes:
        reset: "subtract", "zero" or "none".
        surrogate: a name from the configuration, or the user's derivative, any JAX function of U - threshold.
        slope: sharpness of a named surrogate.
        keep: whether to store membranes for a backward pass.
        read: whether a gradient also flows back through the membranes; linear layers only.
        weight_bits: bits of the layer's weights, without the sign, if they are integers times a scale for each neuron;
            kernels then add integers. 0: floats.
    """

    reset: Reset
    surrogate: str | Derivative
    slope: float
    keep: bool
    read: bool = False
    weight_bits: int = 0

    @property
    def kept(self) -> tuple[str, ...]:
        """The membranes' name if they are to be stored."""
        return ("membranes",) if self.keep else ()

    @property
    def surrogate_name(self) -> str:
        """The surrogate's name, or "given" if the kernels can't compute it."""
        return self.surrogate if isinstance(self.surrogate, str) else "given"

    def forward(self, values: NeuronValues) -> dict[str, Any]:
        """The arguments of operations that describe the neurons."""
        return {"beta": values.beta, "threshold": values.threshold, "reset": self.reset}

    def backward(self, membranes: Array, values: NeuronValues) -> dict[str, Any]:
        """Those of backward operations, for membranes [batch, time, neurons]."""
        surrogate, given = self.surrogate_name, None
        if self.read:
            surrogate, given = "given", jnp.ones_like(membranes)
        elif surrogate == "given" or values.mask is not None:
            surrogate, given = "given", surrogates.evaluated(self.derivative, membranes - values.threshold)
            if values.mask is not None:  # 0 for dropped neurons
                given = given * _dense(values.mask)[:, None, :]
        recurrence = {"membranes": membranes, "surrogate": surrogate, "given": given, "slope": self.slope}
        return self.forward(values) | recurrence

    def derivative(self, x: Array) -> Array:
        """dS/dU at x = U - threshold."""
        if not isinstance(self.surrogate, str):
            return self.surrogate(x)
        function = surrogates.BY_NAME[self.surrogate]
        return function(x) if self.surrogate in SLOPELESS else function(x, self.slope)


class LayerOutput(NamedTuple):
    """A layer's spikes and membranes over the whole window.

    Attributes:
        spikes: its spikes, which carry the gradient.
        last: membranes after the last step [batch, neurons]; no gradient.
        membranes: [batch, time, neurons], differentiable if the rule says so; None if they aren't kept.
    """

    spikes: Spikes
    last: Array
    membranes: Array | None


def _output(results: dict[str, Array], port: Product | None = None) -> LayerOutput:
    """A layer's output from an operation's results; the port of its spikes is zeros unless another one is given."""
    batch, time, words = results["bits"].shape
    zeros = jnp.zeros((batch, time, words * LANES), jnp.float32)
    spikes = Spikes(results["bits"], zeros if port is None else port)
    return LayerOutput(spikes, results["last"], results.get("membranes"))


def _lif_backward(
    rule: Rule, membranes: Array, values: NeuronValues, cotangent: LayerOutput
) -> tuple[dict[str, Array], NeuronValues]:
    """The gradients of neurons whose membranes were kept, and of their parameters."""
    # If the membranes are read, nothing reads the spikes. The kernel gets the membranes' gradient as dS, with a
    # derivative of 1. Only the threshold's gradient then has an extra term, which is removed here.
    dspikes = cast(Array, cotangent.membranes if rule.read else cotangent.spikes.port)
    gradients = call("lif_backward", dspikes=dspikes, **rule.backward(membranes, values))
    dvalues = values.cotangent(gradients["dbeta"], gradients["dthreshold"])
    if rule.read:
        dvalues = dvalues._replace(threshold=dvalues.threshold + add_up(dspikes))
    return gradients, dvalues


# --- layers


class ConvShape(NamedTuple):
    """The sizes of a convolution with stride 1 and of its pooling, a hashable argument of jitted functions.

    Attributes:
        size: height and width of the input.
        kernel: height and width of the kernel.
        padding: zeros on every side of the input.
        pool: pools its output, in windows that don't overlap; None: nothing does.
    """

    size: tuple[int, int]
    kernel: int
    padding: int
    pool: Pooling | None

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the pooled output."""
        height, width = (length + 2 * self.padding - self.kernel + 1 for length in self.size)
        return (self.pool.positions(height), self.pool.positions(width)) if self.pool else (height, width)

    @property
    def max(self) -> bool:
        return self.pool is not None and self.pool.kind == "max"

    @property
    def winners(self) -> tuple[str, ...]:
        """The name of the places that win a max-pool; none without one."""
        return ("winners",) if self.max else ()

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes that describe it to an operation."""
        (height, width), (rows, columns) = self.size, self.cells
        sizes = {"height": height, "width": width, "rows": rows, "columns": columns, "padding": self.padding}
        return sizes | {"pool": self.pool.size if self.pool else 1, "max": self.max}


def _image_current_backward(shape: ConvShape | None, saved: tuple, dcurrent: Array) -> tuple[Array, Array, Array]:
    image, kernel, bias, winners = saved
    if shape is None:
        dkernel, dbias = multiply(image.reshape(len(image), -1).T, dcurrent), add_up(dcurrent, 0)
    else:
        operands = {"image": image, "dcurrent": dcurrent, "winners": winners, "kernel": kernel}
        gradients = call("image_weights", **operands, **shape.attributes)
        dkernel, dbias = gradients["dkernel"], gradients["dbias"]
    # A separate pass, which XLA drops if this gradient isn't used.
    (dimage,) = jax.vjp(lambda image: _image_current(image, kernel, bias, shape), image)[1](dcurrent)
    return dimage, dkernel, dbias


@differentiable(_image_current_backward, 3)
def image_current(image: Array, kernel: Array, bias: Array, shape: ConvShape | None) -> tuple[Array, Any]:
    """The current of a layer that gets the same image at every step, without its neurons.

    Args:
        image: [batch, height, width, in].
        kernel: [k, k, in, out] or [inputs, out], out a multiple of 16.
        bias: [out].
        shape: of the convolution; None: it's a linear layer.

    Returns:
        [batch, neurons].
    """
    if shape is None:
        return _image_current(image, kernel, bias, None), (image, kernel, bias, None)
    operands = {"image": image, "kernel": kernel, "bias": bias}
    results = call("image_current", want=shape.winners, **operands, **shape.attributes)
    return results["current"], (image, kernel, bias, results.get("winners"))


def _image_current(image: Array, kernel: Array, bias: Array, shape: ConvShape | None) -> Array:
    """The same in XLA, which can differentiate it."""
    with jax.named_scope("exact"):
        if shape is None:
            return layers.matmul(image.reshape(len(image), -1), kernel) + bias
        current = layers.conv(image, kernel, 1, shape.padding)
        current = current + bias if shape.pool is None else layers.pool(current, bias, shape.pool)
    return current.reshape(len(image), -1)


def _constant_lif_backward(
    rule: Rule, time: int, channels: tuple[int, int], saved: tuple, cotangent: LayerOutput
) -> tuple[Array, NeuronValues]:
    del time, channels
    membranes, values = saved
    gradients, dvalues = _lif_backward(rule, membranes, values, cotangent)
    return gradients["total"], dvalues


@differentiable(_constant_lif_backward, 2, 3, 4)
def constant_lif(
    current: Array, values: NeuronValues, rule: Rule, time: int, channels: tuple[int, int]
) -> tuple[LayerOutput, Any]:
    """Neurons driven by the same current at every step.

    Args:
        current: I [batch, neurons].
        values: the neurons' parameters.
        rule: the neurons' settings.
        time: number of steps.
        channels: (channels without padding, channels with padding).
    """
    sizes = {"time": time, "channels": channels[0], "stride": channels[1]}
    results = call("constant_lif", want=rule.kept, current=current, **rule.forward(values), **sizes)
    return _output(results), (results.get("membranes"), values)


def _without_values(spikes: Spikes) -> Spikes:
    """Spikes for the backward pass, which only needs the kind of port, unless it's a `ConstantCurrent`."""
    if spikes.port is None or isinstance(spikes.port, ConstantCurrent):
        return spikes
    return spikes._replace(port=jax.tree.map(lambda _: jnp.zeros(()), spikes.port))


def _linear_lif_backward(
    rule: Rule, channels: int, saved: tuple, cotangent: LayerOutput
) -> tuple[Spikes, Array, Array, NeuronValues]:
    del channels
    spikes, kernel, membranes, values = saved
    gradients, dvalues = _lif_backward(rule, membranes, values, cotangent)
    dcurrent = gradients["dcurrent"]
    dkernel = call("linear_weights", bits_in=spikes.bits, dcurrent=dcurrent)["dkernel"]
    port: Port = None
    if isinstance(spikes.port, Product):
        port = Product(dcurrent, kernel)
    elif spikes.port is not None:
        dense = multiply(dcurrent.reshape(-1, dcurrent.shape[2]), kernel.T).reshape(*dcurrent.shape[:2], -1)
        port = Outside(dense) if isinstance(spikes.port, Outside) else dense
    return Spikes(no_gradient(spikes.bits), port), dkernel, add_up(gradients["total"], 0), dvalues


@differentiable(_linear_lif_backward, 4, 5)
def linear_lif(
    spikes: Spikes, kernel: Array, bias: Array, values: NeuronValues, rule: Rule, channels: int
) -> tuple[LayerOutput, Any]:
    """A linear layer and its neurons.

    Args:
        spikes: of the previous layer, [batch, time, inputs].
        kernel: [inputs, outputs], both multiples of 16.
        bias: [outputs].
        values: the neurons' parameters.
        rule: the neurons' settings.
        channels: number of outputs without padding.
    """
    operands = {"bits_in": spikes.bits, "kernel": kernel, "bias": bias}
    sizes = {"channels": channels, "weight_bits": rule.weight_bits}
    results = call("linear_lif", want=rule.kept, **operands, **rule.forward(values), **sizes)
    return _output(results), (_without_values(spikes), kernel, results.get("membranes"), values)


def _conv_lif_backward(
    rule: Rule, shape: ConvShape, channels: int, product_width: int | None, saved: tuple, cotangent: LayerOutput
) -> tuple[Spikes, Array, Array, NeuronValues]:
    del channels, product_width
    spikes, kernel, winners, membranes, values = saved
    (k, _, inputs, outputs), rows, columns = kernel.shape, *shape.cells
    grouped = kernel.reshape(k * k, inputs // LANES, LANES, outputs).transpose(1, 3, 0, 2)
    operands = {"bits_in": spikes.bits, "kernel": kernel, "grouped": grouped, "winners": winners}
    if isinstance(product := cotangent.spikes.port, Product):
        right = product.right.reshape(rows * columns, outputs, -1).swapaxes(1, 2)
        operands |= {"left": product.left, "right": right}
    else:
        operands["dspikes"] = cast(Array, product)
    neurons = rule.backward(membranes, values) | {"surrogate_in": rule.surrogate_name}
    backward = partial(call, "conv_backward", **operands, **neurons, **shape.attributes)
    port: Port
    if isinstance(spikes.port, ConstantCurrent):  # only if beta and threshold aren't learned
        current, beta, threshold = spikes.port
        gradients = backward(want=["dcurrent_in"], current_in=current, beta_in=beta, threshold_in=threshold)
        port = ConstantCurrent(gradients["dcurrent_in"], jnp.zeros_like(beta), jnp.zeros_like(threshold))
    elif spikes.port is None or isinstance(spikes.port, Outside):
        gradients = backward()
        # A separate pass, which XLA drops if this gradient isn't used.
        port = None if spikes.port is None else Outside(backward(want=["dspikes_in"])["dspikes_in"])
    else:
        gradients = backward(want=["dspikes_in"])
        port = gradients["dspikes_in"]
    dvalues = values.cotangent(gradients["dbeta"], gradients["dthreshold"])
    return Spikes(no_gradient(spikes.bits), port), gradients["dkernel"], gradients["dbias"], dvalues


@differentiable(_conv_lif_backward, 4, 5, 6, 7)
def conv_lif(
    spikes: Spikes,
    kernel: Array,
    bias: Array,
    values: NeuronValues,
    rule: Rule,
    shape: ConvShape,
    channels: int,
    product_width: int | None = None,
) -> tuple[LayerOutput, Any]:
    """Convolution, pooling and the neurons.

    Args:
        spikes: of the previous layer, [batch, time, height * width * in].
        kernel: [k, k, in, out], in and out multiples of 16.
        bias: [out].
        values: the neurons' parameters.
        rule: the neurons' settings.
        shape: of the convolution.
        channels: number of output channels without padding.
        product_width: number of outputs of the linear layer that follows, if the gradient is a `Product`.

    Returns:
        The output of rows * columns * out neurons.
    """
    operands = {"bits_in": spikes.bits, "kernel": kernel, "bias": bias}
    sizes = {"channels": channels, "weight_bits": rule.weight_bits} | shape.attributes
    want = rule.kept + shape.winners if rule.keep else ()
    results = call("conv_lif", want=want, **operands, **rule.forward(values), **sizes)
    port = None
    if product_width is not None:
        batch, time, words = results["bits"].shape
        port = Product(jnp.zeros((batch, time, product_width)), jnp.zeros((words * LANES, product_width)))
    saved = _without_values(spikes), kernel, results.get("winners"), results.get("membranes"), values
    return _output(results, port), saved
