"""What docs/design.md says that a network computes, written from that page alone, in JAX.

It's for automatic differentiation, of any order, in float32 or (with JAX's 64-bit mode) in float64. Call it without
`jax.jit` to get the membranes of float32 exactly: a compiled function may fuse a product and a sum, and round once.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from reference_layers import Layer, Settings, layers, setting

Array = jax.Array
Tensors = Mapping[str, Any]
States = dict[str, dict[str, Array]]

SURROGATES: dict[str, tuple[Callable[[Array, float], Array], float]] = {
    "fast_sigmoid": (lambda x, k: (k * jnp.abs(x) + 1) ** -2, 25.0),
    "atan": (lambda x, alpha: 0.5 * alpha / (1 + jnp.square(jnp.pi / 2 * alpha * x)), 2.0),
    "sigmoid": (lambda x, k: k * jax.nn.sigmoid(k * x) * jax.nn.sigmoid(-k * x), 25.0),
    "straight_through": (lambda x, _: jnp.ones_like(x), 1.0),
    "triangular": (lambda x, threshold: jnp.where(x < 0, threshold, -threshold).astype(x.dtype), 1.0),
    "heaviside": (lambda x, _: jnp.where(x > 0, 1, 0).astype(x.dtype), 1.0),
    "spike_rate_escape": (lambda x, k: k * jnp.exp(-1.0 * jnp.abs(x - 1)), 25.0),
    "sparse_fast_sigmoid": (lambda x, k: jnp.where(x > 1, (k * jnp.abs(x) + 1) ** -2, 0), 25.0),
    "leaky_spike": (lambda x, k: jnp.where(x > 0, 1, k).astype(x.dtype), 0.1),
}


def surrogate(settings: Settings) -> Callable[[Array], Array]:
    """The derivative of a spike."""
    chosen, slope = setting(settings, "surrogate"), setting(settings, "slope")
    if callable(chosen):
        return chosen
    if chosen not in SURROGATES:
        raise ValueError(f"surrogate {chosen!r}: expected a function or one of {', '.join(SURROGATES)}")
    function, default = SURROGATES[chosen]
    return lambda x: function(x, default if slope is None else slope)


def spike_with(derivative: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """H, with this function as its derivative."""

    @jax.custom_jvp
    def spike(x: Array) -> Array:
        return (x > 0).astype(x.dtype)

    @spike.defjvp
    def spike_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        return spike(primals[0]), derivative(primals[0]) * tangents[0]

    return spike


def straight_through(values: Array, rounded: Array) -> Array:
    """`rounded`, with the derivative of `values`; the difference of equal numbers is exactly 0."""
    return lax.stop_gradient(rounded) + (values - lax.stop_gradient(values))


def unit_limited(values: Array) -> Array:
    """Limited to [0, 1], with the derivative 1 at both ends."""
    return jnp.where(values < 0, 0, jnp.where(values > 1, 1, values))


def power(exponents: Array, dtype: Any) -> Array:
    """2^exponents, exactly, for normal numbers of float32."""
    return jnp.asarray(2.0 ** np.arange(-126, 128), dtype)[exponents + 126]


def exponent_above(values: Array) -> Array:
    """The least x, and at least -60, for which values < 2^x."""
    powers = jnp.asarray(2.0 ** np.arange(-60, 128), values.dtype)
    return (values[..., None] >= powers).sum(-1) - 60


def multiples(values: Array, exponents: Array, bits: int) -> Array:
    """Rounded to multiples of 2^exponents, fewer than 2^bits of them."""
    step = power(exponents, values.dtype).reshape(-1, *[1] * (values.ndim - 1))
    return jnp.clip(jnp.round(values / step), 1 - 2**bits, 2**bits - 1) * step


def on_grid(layer: Layer, weight: Array, bias: Array, saved: Any) -> tuple[Array, Array]:
    """Weights [neurons, products] and biases on their grids."""
    b, s = layer.input_bits, layer.input_step
    of_bias = exponent_above(jnp.abs(bias) * 2.0 ** (s - b - 3))
    x = jnp.maximum(of_bias, exponent_above(jnp.abs(weight).max(1)))
    limit = 24 if layer.weight_bits is None else layer.weight_bits - 1
    if limit < 4 and saved is not None:
        x = jnp.asarray(saved)
    elif limit < 4:
        choices = jnp.stack([x - less for less in range(4)])
        errors = jnp.stack([jnp.square(multiples(weight, choice - limit, limit) - weight).sum(1) for choice in choices])
        best = jnp.where(choices >= of_bias, errors, jnp.inf).argmin(0)
        x = jnp.take_along_axis(choices, best[None], 0)[0]

    def with_bits(bits: int) -> tuple[Array, Array]:
        width = min(bits, limit)
        return multiples(weight, x - width, width), multiples(bias, x - bits - s, bits + b + 3)

    weights, biases = with_bits(layer.bits)
    for bits in range(layer.bits + 1, min(layer.bits + 4, limit) + 1) if layer.bits < 8 else ():
        more_weights, more_biases = with_bits(bits)
        total = jnp.abs(more_weights).sum(1) * 2.0 ** (b - s) + jnp.abs(more_biases)
        fits = total < power(24 - layer.window_bits + x - bits - s, total.dtype)
        weights, biases = jnp.where(fits[:, None], more_weights, weights), jnp.where(fits, more_biases, biases)
    return weights, biases


def rounded(layer: Layer, tensors: Tensors, dtype: Any) -> tuple[Array, Array]:
    """A layer's weights and biases on their grids, with the derivatives of the master weights."""
    weight = jnp.asarray(tensors[f"{layer.name}.weight"], dtype)
    bias = jnp.asarray(tensors[f"{layer.name}.bias"], dtype) if layer.has_bias else jnp.zeros(len(weight), dtype)
    flat = lax.stop_gradient(weight).reshape(len(weight), -1)
    weights, biases = on_grid(layer, flat, lax.stop_gradient(bias), tensors.get(f"{layer.name}.exponents"))
    return straight_through(weight, weights.reshape(weight.shape)), straight_through(bias, biases)


def network_input(settings: Settings, x: Any, dtype: Any) -> Array:
    """x as multiples of 1 / scale [T, B, H, W, C]."""
    x = jnp.asarray(x)
    values = x.astype(dtype)
    if setting(settings, "encoding") == "direct":
        scale = setting(settings, "scale")
        if jnp.issubdtype(x.dtype, jnp.integer):
            values = values / scale
        else:
            values = straight_through(values, jnp.round(values * scale) / scale)
    return values if x.ndim == 5 else jnp.broadcast_to(values, (setting(settings, "time_steps"), *values.shape))


def synapses(layer: Layer, weight: Array, bias: Array, values: Array, mask: Array | None) -> Array:
    """The sums of a layer's products and bias [T, B, ...]; `mask` multiplies a linear layer's inputs."""
    steps, batch = values.shape[:2]
    if not layer.kernel:
        if values.ndim == 5:
            values = values.transpose(0, 1, 4, 2, 3).reshape(steps, batch, -1)
        values = values if mask is None else values * mask
        return jnp.matmul(values, weight.T, precision=lax.Precision.HIGHEST) + bias
    sums = lax.conv_general_dilated(
        values.reshape(-1, *values.shape[2:]),
        weight,
        window_strides=(layer.stride, layer.stride),
        padding=[(layer.padding, layer.padding)] * 2,
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )
    return sums.reshape(steps, batch, *layer.sum_shape) + bias


def pooled(layer: Layer, values: Array) -> Array:
    """A maximum is the first one in the window, in row-major order, and so is its derivative."""
    if layer.pool == "none":
        return values
    ends = [layer.pool_stride * (n - 1) + 1 for n in layer.out_shape[:2]]
    offsets = [(y, x) for y in range(layer.pool_size) for x in range(layer.pool_size)]
    step = layer.pool_stride
    windows = jnp.stack([values[:, :, y : y + ends[0] : step, x : x + ends[1] : step] for y, x in offsets])
    if layer.pool == "max":
        return jnp.take_along_axis(windows, windows.argmax(0)[None], 0)[0]
    return windows.sum(0) if layer.pool == "sum" else windows.mean(0)


def neurons(
    layer: Layer, tensors: Tensors, current: Array, spike: Callable[[Array], Array], before: Mapping[str, Array]
) -> dict[str, Array]:
    """All states and spikes for the currents [T, B, ...], after the states `before`, which default to 0."""

    def parameter(name: str) -> Array:
        value = tensors.get(f"{layer.neurons}.{name}", getattr(layer, name))
        if value is None:
            raise ValueError(f"{layer.neurons}: no {name}")
        return jnp.asarray(value, current.dtype)

    synaptic = layer.neuron == "synaptic"
    beta, theta = unit_limited(parameter("beta")), parameter("threshold")
    alpha = unit_limited(parameter("alpha")) if synaptic else None
    membrane, a = (before.get(name, jnp.zeros_like(current[0])) for name in ("membrane", "synaptic"))
    history: dict[str, list[Array]] = {"synaptic": [], "membrane": [], "spikes": []}
    for drive in current:
        reset = lax.stop_gradient((membrane - theta > 0).astype(current.dtype))
        if alpha is not None:
            a = alpha * a + drive
            drive = a
        match layer.reset, synaptic:
            case "none", _:
                membrane = beta * membrane + drive
            case "subtract", _:
                membrane = beta * membrane + drive - reset * theta
            case "zero", True:
                membrane = (1 - reset) * (beta * membrane + drive)
            case ("zero", False) | ("clear", True):
                membrane = beta * (1 - reset) * membrane + drive
            case other, _:
                raise ValueError(f"{layer.name}: reset {other} isn't written here")
        history["synaptic"].append(a)
        history["membrane"].append(membrane)
        history["spikes"].append(jnp.zeros_like(membrane) if layer.integrates else spike(membrane - theta))
    return {name: jnp.stack(values) for name, values in history.items() if synaptic or name != "synaptic"}


def outputs(
    settings: Settings,
    tensors: Tensors,
    x: Any,
    masks: Mapping[str, Any] | None = None,
    dtype: Any = jnp.float32,
    before: States | None = None,
) -> States:
    """The whole window of every layer.

    Args:
        settings: See `reference_layers`.
        tensors: Master weights, rounded here in `dtype`, and whichever of `lif1.beta` etc. aren't in `settings`.
        x: [B, H, W, C] or [T, B, H, W, C]. Integers are divided by the scale, floats rounded to multiples of 1 / scale.
        masks: Dropout's 0s and 1s [B, features], in the weight's order, for each linear layer that has any.
        dtype: The type of everything.
        before: For each layer's name its `membrane` and `synaptic` before the first step; 0 by default.

    Returns:
        For each layer's name its `membrane`, `spikes`, `output` (what the next layer gets) and, if its neuron is
        synaptic, `synaptic`.
    """
    spike = spike_with(surrogate(settings))
    values = network_input(settings, x, dtype)
    result = {}
    for layer in layers(settings):
        mask = None
        if masks is not None and layer.name in masks:
            mask = jnp.asarray(masks[layer.name], dtype) / (1 - setting(settings, "dropout"))
        sums = synapses(layer, *rounded(layer, tensors, dtype), values, mask)
        current = sums if layer.pool_after else pooled(layer, sums)
        states = neurons(layer, tensors, current, spike, (before or {}).get(layer.name, {}))
        values = pooled(layer, states["spikes"]) if layer.pool_after else states["spikes"]
        result[layer.name] = states | {"output": values}
    return result


def targets(labels: Any, classes: int, smoothing: float, dtype: Any) -> Array:
    return (1 - smoothing) * jax.nn.one_hot(labels, classes, dtype=dtype) + smoothing / classes


def ce_rate(spikes: Array, labels: Any, label_smoothing: float = 0.0) -> Array:
    """The cross-entropy of the output spikes [T, B, classes] at each step, averaged over steps and images."""
    target = targets(labels, spikes.shape[-1], label_smoothing, spikes.dtype)
    return -(target * jax.nn.log_softmax(spikes, -1)).sum(-1).mean()


def ce_membrane(membrane: Array, labels: Any, label_smoothing: float = 0.0) -> Array:
    """The same for the output membranes."""
    return ce_rate(membrane, labels, label_smoothing)


def mse_count(spikes: Array, labels: Any, label_smoothing: float = 0.0) -> Array:
    """The squared difference of spike counts from T for the correct class and 0 for others, divided by T."""
    steps, _, classes = spikes.shape
    target = steps * targets(labels, classes, label_smoothing, spikes.dtype)
    return jnp.square(spikes.sum(0) - target).mean() / steps


def rate_penalty(states: States, rate_target: float, rate_weight: float = 10.0) -> Array:
    """What `--rate-target` adds to the loss: all layers but the last are hidden."""
    densities = jnp.stack([of_layer["spikes"].mean() for of_layer in list(states.values())[:-1]])
    return rate_weight * jnp.square(densities - rate_target).mean()
