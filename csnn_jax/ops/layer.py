"""Layers of neurons over a whole window, as functions of arrays."""

import dataclasses
import math
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from csnn_jax.engine import library
from csnn_jax.engine.library import Unsupported, padded
from csnn_jax.network import surrogate as surrogates
from csnn_jax.network.neuron import clip
from csnn_jax.network.rounding import rounded
from csnn_jax.network.surrogate import Derivative, fast_sigmoid
from csnn_jax.neurons.neuron import Reset
from csnn_jax.ops import currents, rules
from csnn_jax.ops.rules import Geometry, Rule, Values
from csnn_jax.ops.spikes import (
    Bits,
    Constant,
    Layout,
    Product,
    Spikes,
    check_spikes,
    is_whole,
    pack_arrays,
    with_planes,
)

SETTLING = 32
"""Number of steps in which a membrane settles under a constant current: 24 to 26 at beta 0.5."""


@partial(jax.tree_util.register_dataclass, data_fields=["image"], meta_fields=["time_steps"])
@dataclasses.dataclass(frozen=True)
class Held:
    """An input that's the same at every step, so a layer computes its current once; see `held`.

    Attributes:
        image: [batch, height, width, channels] or [batch, inputs], float32.
        time_steps: their number.
    """

    image: Array
    time_steps: int


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["spikes", "all_membranes", "all_last", "counts"],
    meta_fields=["layout"],
)
@dataclasses.dataclass(frozen=True)
class Layer:
    """What a layer of neurons did over the window. Everything is differentiable.

    Attributes:
        spikes: its spikes, for the next layer or `unpack`; without those that `stays` drops.
        all_membranes: [batch, time, padded neurons]; [0] if they weren't asked for.
        all_last: [batch, padded neurons].
        counts: the number of its spikes over the window, float32 [batch]; also of those that `stays` drops.
        layout: the order of its neurons.
    """

    spikes: Spikes
    all_membranes: Array
    all_last: Array
    counts: Array
    layout: Layout

    @property
    def membranes(self) -> Array:
        """Membranes at every step [time, batch, *neurons].

        Raises:
            ValueError: the layer was called without `membranes=True`.
        """
        if self.all_membranes.ndim == 1:
            raise ValueError("the layer has no membranes, expected membranes=True in its call")
        if self.all_membranes.ndim != 3:
            raise ValueError("this layer was returned by jax.vmap, expected its arrays to be read inside")
        return self.layout.gathered(self.all_membranes).swapaxes(0, 1)

    @property
    def last(self) -> Array:
        """Membranes after the last step [batch, *neurons]."""
        return self.layout.gathered(self.all_last)

    @property
    def density(self) -> Array:
        """The fraction of neurons that spike at a step, a scalar."""
        if self.counts.ndim != 1:
            raise ValueError("this layer was returned by jax.vmap, expected its arrays to be read inside")
        return rounded(self.counts.sum() * (1 / math.prod(self.spikes.shape)))


def held(image: Array, time_steps: int) -> Held:
    """An image for `conv_lif` or `linear_lif` that's the same at every step.

    Args:
        image: [batch, height, width, channels] or [batch, inputs], float32.
        time_steps: number of time steps.

    Raises:
        ValueError: the image has another shape or type, or there is no step.

    Examples:
        >>> import jax.numpy as jnp
        >>> from csnn_jax import ops
        >>> pixels = ops.held(jnp.array([[0.5, 1.0]]), time_steps=3)
        >>> ops.linear_lif(pixels, jnp.ones((2, 1)), membranes=True).membranes.ravel().tolist()
        [1.5, 1.25, 1.125]
    """
    if isinstance(image, Spikes):
        raise ValueError("image is spikes, which change with time, expected an array")
    image = jnp.asarray(image)
    if image.ndim not in (2, 4) or image.dtype != jnp.float32 or 0 in image.shape:
        expected = "float32 [batch, height, width, channels] or [batch, inputs], none 0"
        raise ValueError(f"image is {image.dtype} {list(image.shape)}, expected {expected}")
    if not is_whole(time_steps) or time_steps < 1:
        raise ValueError(f"time_steps is {time_steps!r}, expected a whole number of at least 1")
    return Held(image, time_steps)


@surrogates.reverse_mode_only()
def conv_lif(
    source: Spikes | Held,
    kernel: Array,
    bias: Array | None = None,
    beta: ArrayLike = 0.5,
    threshold: ArrayLike = 1.0,
    *,
    added: Array | None = None,
    padding: int = 0,
    pool: Literal["max", "avg"] | None = None,
    reset: Reset = "subtract",
    surrogate: Derivative = fast_sigmoid,
    membranes: bool = False,
    stays: Array | None = None,
    weight_bits: int = 0,
    feeds: int | None = None,
) -> Layer:
    """A convolution with stride 1, 2x2 pooling or none, and leaky integrate-and-fire neurons over the whole window.

    At each step, U[t] = beta U[t-1] + I[t], minus the threshold where U[t-1] exceeded it ("subtract"), or with
    U[t-1] = 0 there ("zero"), and S[t] = 1 where U[t] exceeds the threshold. Whether a neuron resets has no gradient,
    but the threshold that it subtracts has. A layer takes time in proportion to the number of input spikes. Inputs that
    don't spike are skipped, so a weight that isn't finite may go unnoticed.

    Keyword arguments are settings, which JAX must know when it traces the function, except `added` and `stays`.

    Args:
        source: spikes of a layer [time, batch, height, width, in], or packed or held input.
        kernel: float32 [k, k, in, out], as in `jax.lax` with "HWIO"; k at most 7.
        bias: [out]; None: zeros.
        beta: membrane decay, a scalar; clipped to 0 to 1, with torch's gradient.
        threshold: a scalar.
        added: the result of `pointwise` for the positions after the pool, which is added to the neurons' current. The
            layer must get a held image if and only if `pointwise` got one. None: nothing.
        padding: zeros on every side, less than half a kernel.
        pool: pooling between the convolution and the neurons; windows that aren't complete are dropped.
        reset: "subtract", "zero" or "none".
        surrogate: the derivative of a spike as a function of U - threshold. The kernels compute those of
            `csnn_jax.network.surrogate`, also with another slope: `functools.partial(atan, slope=3.0)`.
        membranes: whether to return the membranes of every step.
        stays: bool [batch, rows, columns, out], the neurons whose spikes are passed on (dropout); None: all.
        weight_bits: the number of bits, at most 12 and without the sign, if the weights of each output are whole
            multiples of a power of two. The kernels then add integers, which is faster. 0: they add floats.
        feeds: number of outputs of a linear layer, if it's the only reader of the spikes; the gradient then takes less
            memory, and after a long window of a held image less time. With another reader, it's NaN or an error.

    Returns:
        The layer, with spikes [time, batch, rows, columns, out]. The gradient is with respect to kernel, bias, beta,
            threshold, and the source unless it was packed from bytes.

    Raises:
        ValueError: an argument has the wrong shape or type.
        Unsupported: the kernels aren't built, or don't support the sizes; the message says which they do.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from csnn_jax import ops
        >>> image = ops.held(jnp.ones((1, 4, 4, 1)), time_steps=3)
        >>> def loss(kernel):
        ...     return (ops.conv_lif(image, kernel, pool="max", membranes=True).membranes ** 2).sum()
        >>> jax.grad(loss)(jnp.full((3, 3, 1, 1), 0.125)).shape
        (3, 3, 1, 1)
    """
    shape, kernel = _shape(source), jnp.asarray(kernel)
    if len(shape) != 3 or kernel.ndim != 4 or kernel.shape[:3] != (len(kernel), len(kernel), shape[-1]):
        raise ValueError(
            f"kernel is {list(kernel.shape)}, expected [k, k, in, out] for an input of {list(shape)} at each step"
        )
    if not is_whole(padding):
        raise ValueError(f"padding is {padding!r}, expected a whole number")
    if feeds is not None and not (is_whole(feeds) and feeds > 0):
        raise ValueError(f"feeds is {feeds!r}, expected a whole number of at least 1, or None")
    if pool not in (None, "max", "avg"):
        raise ValueError(f"pool is {pool!r}, expected 'max', 'avg' or None")
    geometry = Geometry(shape[:2], padding, 1 if pool is None else 2, pool == "max")
    channels = kernel.shape[-1]
    layout = Layout((*geometry.cells(len(kernel)), channels), (channels,))
    _check_sizes(geometry, len(kernel), layout, source)
    rule = layer_rule(reset, surrogate, layout, membranes, weight_bits, feeds)
    kernel, bias = wide(kernel, layout), wide(layer_bias(bias, channels), layout)
    values = layer_values(beta, threshold, stays, layout, source)
    lead = source.image.shape[:1] if isinstance(source, Held) else source.arrays.bits.shape[:2]
    if added is not None and added.shape != (*lead, layout.neurons):
        raise ValueError(f"added is {list(added.shape)}, expected {[*lead, layout.neurons]}, from `pointwise`")
    if isinstance(source, Held):
        current = currents.image_current(source.image, kernel, bias, geometry)
        return _from_current(current if added is None else current + added, values, rule, source, layout)
    if isinstance(source.arrays.port, Product):
        raise ValueError("these spikes feed a linear layer (`feeds`), which must be their only reader")
    kernel = source.layout.spread(with_planes(kernel, source.layout.planes), -2)
    # The kernel differentiates the neurons before it with its own settings.
    same = added is None and source.neurons == (rule.reset, rule.surrogate, rule.slope)
    arrays = source.arrays if same else source.arrays._replace(constant=None)
    settles = arrays.constant is not None and arrays.bits.shape[1] > SETTLING
    rule = rule._replace(feeds=feeds and padded(feeds) if settles else None)
    return _layer(rules.conv_lif(arrays, kernel, bias, added, values, rule, geometry), values, layout)


@surrogates.reverse_mode_only()
def pointwise(source: Spikes | Held, kernel: Array, *, weight_bits: int = 0) -> Array:
    """The current of a convolution with a kernel of one pixel, to add to that of `conv_lif`.

    Args:
        source: as in `conv_lif`.
        kernel: float32 [in, out].
        weight_bits: as in `conv_lif`.

    Returns:
        float32 [batch, time, neurons], or [batch, neurons] for a held image; the neurons in the order [height, width,
            out], with out padded to a multiple of 16.

    Raises:
        ValueError: an argument has the wrong shape or type.
        Unsupported: the kernels aren't built.

    Examples:
        >>> import jax.numpy as jnp
        >>> from csnn_jax import ops
        >>> spikes = ops.pack(jnp.ones((1, 1, 2, 2, 1), jnp.uint8))  # [time, batch, height, width, in]
        >>> shortcut = ops.pointwise(spikes, jnp.full((1, 1), 0.25))
        >>> layer = ops.conv_lif(spikes, jnp.full((1, 1, 1, 1), 0.5), added=shortcut, membranes=True)
        >>> layer.membranes.ravel().tolist()
        [0.75, 0.75, 0.75, 0.75]
    """
    shape, kernel = _shape(source), jnp.asarray(kernel)
    if len(shape) != 3 or kernel.ndim != 2 or len(kernel) != shape[-1]:
        raise ValueError(f"kernel is {list(kernel.shape)}, expected [in, out] for an input of {list(shape)}")
    channels = kernel.shape[-1]
    kernel = wide(kernel, Layout((*shape[:2], channels), (channels,)))
    if isinstance(source, Held):
        nothing = jnp.zeros(kernel.shape[-1], jnp.float32)
        return currents.image_current(source.image, kernel[None, None], nothing, Geometry(shape[:2]))
    if isinstance(source.arrays.port, Product):
        raise ValueError("these spikes feed a linear layer (`feeds`), which must be their only reader")
    kernel = source.layout.spread(with_planes(kernel, source.layout.planes), -2)
    return currents.spike_current(source.arrays._replace(constant=None), kernel, weight_bits)


@surrogates.reverse_mode_only()
def linear_lif(
    source: Spikes | Held,
    kernel: Array,
    bias: Array | None = None,
    beta: ArrayLike = 0.5,
    threshold: ArrayLike = 1.0,
    *,
    reset: Reset = "subtract",
    surrogate: Derivative = fast_sigmoid,
    membranes: bool = False,
    stays: Array | None = None,
    weight_bits: int = 0,
) -> Layer:
    """A linear layer and leaky integrate-and-fire neurons over the whole window.

    Args:
        source: spikes of a layer, which are flattened in the order [height, width, channels], or packed or held input.
        kernel: float32 [inputs, out].
        bias: [out]; None: zeros.
        beta: as in `conv_lif`, like all others.
        threshold: likewise.
        reset: likewise.
        surrogate: likewise.
        membranes: likewise.
        stays: bool [batch, out].
        weight_bits: likewise.

    Returns:
        The layer, with spikes [time, batch, out].

    Raises:
        ValueError: an argument has the wrong shape or type.
        Unsupported: the kernels aren't built.

    Examples:
        >>> import jax.numpy as jnp
        >>> from csnn_jax import ops
        >>> spikes = ops.pack(jnp.ones((4, 1, 2), jnp.uint8))  # [time, batch, inputs]
        >>> layer = ops.linear_lif(spikes, jnp.array([[0.5], [0.25]]), membranes=True)
        >>> layer.membranes[:, 0, 0].tolist(), ops.unpack(layer.spikes)[:, 0, 0].tolist()
        ([0.75, 1.125, 0.3125, 0.90625], [0.0, 1.0, 0.0, 0.0])
    """
    kernel = linear_kernel(source, kernel)
    channels = kernel.shape[-1]
    layout = Layout((channels,), (channels,))
    rule = layer_rule(reset, surrogate, layout, membranes, weight_bits, None)
    kernel, bias = wide(kernel, layout), wide(layer_bias(bias, channels), layout)
    values = layer_values(beta, threshold, stays, layout, source)
    if isinstance(source, Held):
        image = source.image.reshape(len(source.image), -1)
        return _from_current(currents.image_current(image, kernel, bias, None), values, rule, source, layout)
    before = source.layout
    kernel = kernel.reshape(math.prod(before.shape[:-1]), -1, kernel.shape[-1])
    kernel = before.spread(with_planes(kernel, before.planes), 1).reshape(before.neurons, -1)
    arrays = source.arrays._replace(constant=None)
    return _layer(rules.linear_lif(arrays, kernel, bias, values, rule), values, layout)


def layer_rule(
    reset: Reset, surrogate: Derivative, layout: Layout, membranes: bool, weight_bits: int, feeds: int | None
) -> Rule:
    """The settings of a layer, checked."""
    limits = library.limits()
    if reset not in limits.resets:
        raise ValueError(f"reset is {reset!r}, expected one of {', '.join(limits.resets)}")
    if not is_whole(weight_bits) or not 0 <= weight_bits <= limits.weight_bits:
        raise ValueError(f"weight_bits is {weight_bits!r}, expected a whole number from 0 to {limits.weight_bits}")
    if not isinstance(membranes, bool):
        raise ValueError(f"membranes is {membranes!r}, expected True or False")
    if not callable(surrogate):
        raise ValueError(f"surrogate is {surrogate!r}, expected a function of U - threshold, such as surrogate.atan")
    if layout.shape[-1] < 1:
        raise ValueError("kernel has no outputs, expected at least one")
    name, slope = surrogates.named(surrogate)
    return Rule(reset, name or surrogate, slope, layout.shape[-1], membranes, weight_bits, feeds)


def _check_sizes(geometry: Geometry, kernel: int, layout: Layout, source: Spikes | Held) -> None:
    """Raises an error unless the kernels can run a convolution."""
    limits = library.limits()
    if kernel not in limits.kernel_sizes:
        raise Unsupported(f"kernel has {kernel} pixels, expected at most {max(limits.kernel_sizes)}")
    if not 0 <= 2 * geometry.padding < kernel:
        raise ValueError(f"padding is {geometry.padding}, expected 0 to {(kernel - 1) // 2}, less than half the kernel")
    if min(layout.shape) < 1:
        raise ValueError(f"the output would be {list(layout.shape)}, expected an input of at least {kernel} pixels")
    inputs = kernel**2 * (source.image.shape[-1] if isinstance(source, Held) else source.layout.width)
    if inputs > limits.inputs:
        raise Unsupported(f"an output sums {inputs:,} inputs, expected at most {limits.inputs:,}")


def _shape(source: Spikes | Held) -> tuple[int, ...]:
    """The shape of a layer's input at one step, without the batch."""
    if isinstance(source, Held):
        return source.image.shape[1:]
    check_spikes(source)
    if source.arrays.bits.ndim != 3:
        raise ValueError("these spikes were returned by jax.vmap, expected them to be used inside")
    return source.layout.shape


def linear_kernel(source: Spikes | Held, kernel: Array) -> Array:
    """The kernel of a linear layer; raises ValueError unless it's [inputs, out]."""
    shape, kernel = _shape(source), jnp.asarray(kernel)
    if kernel.ndim != 2 or len(kernel) != math.prod(shape):
        raise ValueError(
            f"kernel is {list(kernel.shape)}, expected [inputs, out] for an input of {list(shape)} at each step"
        )
    return kernel


def layer_bias(bias: Array | None, channels: int) -> Array:
    """The bias of a layer, or zeros."""
    if bias is None:
        return jnp.zeros(channels, jnp.float32)
    bias = jnp.asarray(bias)
    if bias.shape != (channels,):
        raise ValueError(f"bias is {list(bias.shape)}, expected [{channels}], one for each output")
    return bias


def wide(array: Array, layout: Layout) -> Array:
    """Adds outputs with zero weights, up to a multiple of 16."""
    if array.dtype != jnp.float32:
        raise ValueError(f"kernel or bias is {array.dtype}, expected float32")
    return layout.spread(array, -1)


def layer_values(
    beta: ArrayLike, threshold: ArrayLike, stays: Array | None, layout: Layout, source: Spikes | Held
) -> Values:
    """The parameters of neurons, checked."""
    batch = len(source.image if isinstance(source, Held) else source.arrays.bits)
    for name, value in (("beta", beta), ("threshold", threshold)):
        if jnp.shape(value):
            raise ValueError(f"{name} is {list(jnp.shape(value))}, expected a scalar")
    mask = None
    if stays is not None:
        stays = jnp.asarray(stays)
        if stays.dtype != bool or stays.shape != (batch, *layout.shape):
            expected = f"bool [{', '.join(map(str, (batch, *layout.shape)))}]"
            raise ValueError(f"stays is {stays.dtype} {list(stays.shape)}, expected {expected}")
        flat = stays.astype(jnp.uint8).reshape(1, len(stays), -1, layout.shape[-1])
        mask = pack_arrays(flat).bits[:, 0]
    return Values(clip(jnp.asarray(beta, jnp.float32)), jnp.asarray(threshold, jnp.float32), mask)


def _from_current(current: Array, values: Values, rule: Rule, source: Held, layout: Layout) -> Layer:
    """Neurons under a constant current. A convolution can sum its gradient over time, see `Constant`."""
    constant = None
    # The kernels don't compute a dropped neuron's gradient on this route, nor for other surrogates and resets.
    few = layout.shape[-1] <= library.limits().constant_channels
    if few and values.mask is None and rule.reset != "zero" and isinstance(rule.surrogate, str):
        constant = Constant(current, values.beta, values.threshold)
    window = rules.constant_lif(current, values, rule._replace(feeds=None), source.time_steps, constant is not None)
    return _layer(window, values, layout, constant, rule)


def _layer(
    window: rules.Window, values: Values, layout: Layout, constant: Constant | None = None, rule: Rule | None = None
) -> Layer:
    bits = window.bits if values.mask is None else window.bits & values.mask[:, None]
    key = None if constant is None or rule is None else (rule.reset, rule.surrogate, rule.slope)
    spikes = Spikes(Bits(bits, window.port, constant), layout, key)
    return Layer(spikes, window.membranes, window.last, window.counts, layout)
