"""What docs/design.md says that a network computes, written from that page alone, in NumPy.

It shares no code with the engines, so tests can compare them with it. `settings` is described in `reference_layers`;
`tensors` has torch's names and layouts. Arrays over time are [T, B, H, W, C] or [T, B, N].
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from reference_layers import Layer, Settings, layers, setting

Array = np.ndarray
Tensors = Mapping[str, Any]
Masks = Mapping[str, Any] | None
States = dict[str, dict[str, Array]]


def power_above(values: Array) -> Array:
    """x where 2^x is the smallest power of two above each value; -60 is the least."""
    exponents = np.frexp(values)[1]
    return np.maximum(np.where(values > 0, exponents, -60), -60)


def best_exponents(weight_bits: int, weight: Array, lowest: Array, usual: Array) -> Array:
    """Which of x, x - 1, x - 2, x - 3 (not below `lowest`) has the least squared error; the largest on ties."""
    best, least = usual, np.full(usual.shape, np.inf)
    for less in range(4):
        x = usual - less
        step = np.exp2(x - weight_bits + 1)[:, None]
        most = 2 ** (weight_bits - 1) - 1
        error = ((np.clip(np.rint(weight / step), -most, most) * step - weight) ** 2).sum(1)
        better = (error < least) & (x >= lowest)
        best, least = np.where(better, x, best), np.where(better, error, least)
    return best


def most_extra(bits: int, weight_bits: int | None) -> int:
    """How many bits a neuron may get beyond B."""
    return 0 if bits >= 8 else 4 if weight_bits is None else min(max(weight_bits - 1 - bits, 0), 4)


def on_grid(layer: Layer, weight: Array, bias: Array, exponents: Any = None) -> tuple[Array, Array, Array]:
    """Weights [neurons, products] and biases on their grids, and each neuron's x, in float64: nothing is inexact."""
    b, e = layer.input_bits, 2.0**-layer.input_step
    lowest = power_above(np.abs(bias) / (8 * 2**b * e))
    x = np.maximum(power_above(np.abs(weight).max(1)), lowest)
    if layer.weight_bits is not None and layer.weight_bits < 5:
        x = best_exponents(layer.weight_bits, weight, lowest, x) if exponents is None else np.asarray(exponents)
    rounded_weight, rounded_bias = np.zeros_like(weight), np.zeros_like(bias)
    for extra in range(1 + most_extra(layer.bits, layer.weight_bits)):
        bits = layer.bits + extra
        g = np.exp2(x - bits)
        coarse = 0 if layer.weight_bits is None else max(0, bits - layer.weight_bits + 1)
        step, most = (g * 2**coarse)[:, None], 2 ** (bits - coarse) - 1
        weights = np.clip(np.rint(weight / step), -most, most) * step
        most = 8 * 2 ** (bits + b) - 1
        biases = np.clip(np.rint(bias / (g * e)), -most, most) * (g * e)
        total = np.abs(weights).sum(1) * 2**b * e + np.abs(biases)
        fits = (total < 2.0 ** (24 - layer.window_bits) * g * e) | (extra == 0)
        rounded_weight = np.where(fits[:, None], weights, rounded_weight)
        rounded_bias = np.where(fits, biases, rounded_bias)
    return rounded_weight, rounded_bias, x


def rounded(settings: Settings, tensors: Tensors) -> dict[str, Array]:
    """Every weight and bias on its grid, in float64, and the exponents if there are fewer than five bits."""
    result = {}
    for layer in layers(settings):
        weight = np.asarray(tensors[f"{layer.name}.weight"], np.float64)
        bias = np.asarray(tensors[f"{layer.name}.bias"], np.float64) if layer.has_bias else np.zeros(len(weight))
        flat, bias, x = on_grid(layer, weight.reshape(len(weight), -1), bias, tensors.get(f"{layer.name}.exponents"))
        result[f"{layer.name}.weight"] = flat.reshape(weight.shape)
        if layer.has_bias:
            result[f"{layer.name}.bias"] = bias
        if layer.weight_bits is not None and layer.weight_bits < 5:
            result[f"{layer.name}.exponents"] = x
    return result


def network_input(settings: Settings, x: Any) -> Array:
    """x as multiples of 1 / scale [T, B, H, W, C] in float64: integers are divided, floats rounded, spikes used."""
    x = np.asarray(x)
    values = x.astype(np.float64)
    if setting(settings, "encoding") == "direct":
        scale = setting(settings, "scale")
        counts = values if np.issubdtype(x.dtype, np.integer) else np.rint(values * scale)
        if np.abs(counts).max() > 2 ** setting(settings, "input_bits"):
            raise ValueError(f"an input exceeds 2^{setting(settings, 'input_bits')} / {scale}")
        values = counts / scale
    return values if x.ndim == 5 else np.broadcast_to(values, (setting(settings, "time_steps"), *values.shape))


def places(window: int, stride: int, shape: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """For each pixel of a window, in row-major order, its index in all windows of an array [..., H, W, C]."""
    ends = [stride * (n - 1) + 1 for n in shape[:2]]
    offsets = [(y, x) for y in range(window) for x in range(window)]
    return [(..., slice(y, y + ends[0], stride), slice(x, x + ends[1], stride), slice(None)) for y, x in offsets]


def padded(layer: Layer, values: Array) -> Array:
    around = (layer.padding, layer.padding)
    return np.pad(values, [(0, 0)] * (values.ndim - 3) + [around, around, (0, 0)])


def features(values: Array) -> Array:
    """[..., H, W, C] as [..., features] in C, H, W order; [..., N] stays what it is."""
    return values if values.ndim == 3 else np.moveaxis(values, -1, -3).reshape(*values.shape[:2], -1)


def synapses(layer: Layer, weight: Array, bias: Array, values: Array) -> Array:
    """The sums of a layer's products and bias, [T, B, ...]."""
    if not layer.kernel:
        return features(values) @ weight.T + bias
    values = padded(layer, values)
    taps = weight.reshape(*weight.shape[:2], -1)
    indices = places(layer.kernel, layer.stride, layer.sum_shape)
    return sum((values[index] @ taps[:, :, i].T for i, index in enumerate(indices)), start=bias)


def synapses_backward(layer: Layer, weight: Array, values: Array, d_sums: Array) -> tuple[Array, Array]:
    """The gradients of the weights and of the input."""
    if not layer.kernel:
        d_weight = np.einsum("tbo,tbi->oi", d_sums, features(values))
        d_features = d_sums @ weight
        if len(layer.in_shape) == 1:
            return d_weight, d_features
        height, width, channels = layer.in_shape
        return d_weight, np.moveaxis(d_features.reshape(*d_sums.shape[:2], channels, height, width), -3, -1)
    wide = padded(layer, values)
    d_wide, d_weight = np.zeros_like(wide), np.zeros((*weight.shape[:2], layer.kernel**2))
    taps = weight.reshape(d_weight.shape)
    for i, index in enumerate(places(layer.kernel, layer.stride, layer.sum_shape)):
        d_weight[:, :, i] = np.einsum("tbhwo,tbhwi->oi", d_sums, wide[index])
        d_wide[index] += d_sums @ taps[:, :, i]
    p = layer.padding
    return d_weight.reshape(weight.shape), d_wide[:, :, p : d_wide.shape[2] - p, p : d_wide.shape[3] - p]


def pooled(layer: Layer, values: Array) -> Array:
    if layer.pool == "none":
        return values
    indices = places(layer.pool_size, layer.pool_stride, layer.out_shape)
    windows = np.stack([values[index] for index in indices])
    if layer.pool == "max":
        return windows.max(0)
    return windows.sum(0) / (len(windows) if layer.pool == "avg" else 1)


def pooled_backward(layer: Layer, values: Array, d_pooled: Array) -> Array:
    """A maximum's gradient goes to the first one in the window, in row-major order."""
    if layer.pool == "none":
        return d_pooled
    indices = places(layer.pool_size, layer.pool_stride, layer.out_shape)
    first = np.stack([values[index] for index in indices]).argmax(0)
    result = np.zeros(values.shape)
    for i, index in enumerate(indices):
        share = first == i if layer.pool == "max" else 1 / (len(indices) if layer.pool == "avg" else 1)
        result[index] += d_pooled * share
    return result


def heaviside(x: Array) -> Array:
    return (x > 0).astype(x.dtype)


def parameter(layer: Layer, tensors: Tensors, name: str, dtype: Any) -> Array:
    value = tensors.get(f"{layer.neurons}.{name}", getattr(layer, name))
    if value is None:
        raise ValueError(f"{layer.neurons}: no {name}")
    return np.asarray(value, dtype)


def neurons(layer: Layer, tensors: Tensors, current: Array) -> dict[str, Array]:
    """All states and spikes for the currents [T, B, ...], one operation at a time in their type."""
    dtype = current.dtype
    synaptic = layer.neuron == "synaptic"
    beta = np.clip(parameter(layer, tensors, "beta", dtype), 0, 1)
    theta = parameter(layer, tensors, "threshold", dtype)
    alpha = np.clip(parameter(layer, tensors, "alpha", dtype), 0, 1) if synaptic else beta
    u = a = np.zeros_like(current[0])
    states: dict[str, list[Array]] = {"synaptic": [], "membrane": [], "spikes": []}
    for drive in current:
        r = heaviside(u - theta)
        if synaptic:
            a = drive = alpha * a + drive
        if layer.reset == "none":
            u = beta * u + drive
        elif layer.reset == "subtract":
            u = beta * u + drive - r * theta
        elif layer.reset == "zero" and synaptic:
            u = (1 - r) * (beta * u + drive)
        else:
            u = beta * (1 - r) * u + drive
        states["synaptic"].append(a)
        states["membrane"].append(u)
        states["spikes"].append(np.zeros_like(u) if layer.integrates else heaviside(u - theta))
    return {name: np.stack(values) for name, values in states.items() if synaptic or name != "synaptic"}


def kept_inputs(settings: Settings, layer: Layer, masks: Masks) -> Array | float:
    """What multiplies a linear layer's inputs: its mask [B, features], in the weight's order, times 1 / (1 - p)."""
    if masks is None or layer.name not in masks:
        return 1.0
    mask = np.asarray(masks[layer.name], np.float64) / (1 - setting(settings, "dropout"))
    if len(layer.in_shape) == 1:
        return mask
    height, width, channels = layer.in_shape
    return np.moveaxis(mask.reshape(-1, channels, height, width), 1, -1)


def trace(settings: Settings, tensors: Tensors, x: Any, dtype: Any = np.float32, masks: Masks = None) -> States:
    """The whole window of every layer.

    Args:
        settings: See `reference_layers`.
        tensors: Master weights, rounded here, and whichever of `lif1.beta` etc. aren't in `settings`.
        x: [B, H, W, C] or [T, B, H, W, C]. See `network_input`.
        dtype: The type of the states. Sums are added in float64, so those on the grid are exact in either.
        masks: Dropout's 0s and 1s [B, features] for each linear layer that has any.

    Returns:
        For each layer's name its `input`, `sums` (before pooling), `current`, `membrane`, `spikes`, `output` (what the
        next layer gets) and, if its neuron is synaptic, `synaptic`.
    """
    grids = rounded(settings, tensors)
    values = network_input(settings, x)
    result = {}
    for layer in layers(settings):
        values = values * kept_inputs(settings, layer, masks)
        bias = grids[f"{layer.name}.bias"] if layer.has_bias else np.zeros(layer.sum_shape[-1])
        sums = synapses(layer, grids[f"{layer.name}.weight"], bias, values)
        current = (sums if layer.pool_after else pooled(layer, sums)).astype(dtype)
        states = neurons(layer, tensors, current)
        output = pooled(layer, states["spikes"]) if layer.pool_after else states["spikes"]
        result[layer.name] = {"input": values, "sums": sums, "current": current, "output": output, **states}
        values = output.astype(np.float64)
    return result


SURROGATES: dict[str, tuple[Callable[[Array, float], Any], float]] = {
    "fast_sigmoid": (lambda x, k: 1 / (k * np.abs(x) + 1) ** 2, 25.0),
    "atan": (lambda x, alpha: alpha / 2 / (1 + (np.pi / 2 * alpha * x) ** 2), 2.0),
    "sigmoid": (lambda x, k: k * np.exp(-k * np.abs(x)) / (np.exp(-k * np.abs(x)) + 1) ** 2, 25.0),
    "straight_through": (lambda x, _: np.ones_like(x), 1.0),
    "triangular": (lambda x, threshold: np.where(x < 0, threshold, -threshold), 1.0),
    "heaviside": (lambda x, _: heaviside(x), 1.0),
    "spike_rate_escape": (lambda x, k: k * np.exp(-np.abs(x - 1)), 25.0),
    "sparse_fast_sigmoid": (lambda x, k: np.where(x > 1, 1 / (k * np.abs(x) + 1) ** 2, 0), 25.0),
    "leaky_spike": (lambda x, k: np.where(x > 0, 1, k), 0.1),
}


def surrogate(settings: Settings) -> Callable[[Array], Any]:
    """The derivative of a spike."""
    chosen = setting(settings, "surrogate")
    if callable(chosen):
        return chosen
    if chosen not in SURROGATES:
        raise ValueError(f"surrogate {chosen!r}: expected a function or one of {', '.join(SURROGATES)}")
    derivative, default = SURROGATES[chosen]
    slope = default if setting(settings, "slope") is None else setting(settings, "slope")
    return lambda x: derivative(x, slope)


def summed(values: Array, shape: tuple[int, ...]) -> Array:
    """The sum over all uses of a parameter of this shape: one value, or one per channel."""
    return (values.sum() if np.prod(shape) == 1 else values.reshape(-1, values.shape[-1]).sum(0)).reshape(shape)


def earlier(values: Array) -> Array:
    """The values [T, ...] of the previous step; before the first they're 0."""
    return np.concatenate([np.zeros_like(values[:1]), values[:-1]])


def neurons_backward(
    layer: Layer,
    tensors: Tensors,
    states: dict[str, Array],
    d_states: dict[str, Array],
    derivative: Callable[[Array], Any],
) -> tuple[Array, dict[str, Array]]:
    """The gradients of the currents and of the neuron's parameters. The reset is a constant."""
    synaptic = layer.neuron == "synaptic"
    dtype = states["current"].dtype
    names = ("beta", "threshold", "alpha") if synaptic else ("beta", "threshold")
    values = {name: parameter(layer, tensors, name, dtype).astype(np.float64) for name in names}
    beta, theta, alpha = np.clip(values["beta"], 0, 1), values["threshold"], np.clip(values.get("alpha", 0.0), 0, 1)
    u = states["membrane"].astype(np.float64)
    r = heaviside(earlier(u) - theta)
    ones = np.ones_like(r)
    membrane_passes = 1 - r if layer.reset in ("zero", "clear") else ones
    drive_passes = 1 - r if layer.reset == "zero" and synaptic else ones
    through_spikes = np.zeros_like(u) if layer.integrates else derivative(u - theta) * d_states["spikes"]
    d_u, d_a = d_states["membrane"] + through_spikes, d_states["synaptic"].copy()
    for t in reversed(range(len(u))):
        if t + 1 < len(u):
            d_u[t] += beta * membrane_passes[t + 1] * d_u[t + 1]
            d_a[t] += alpha * d_a[t + 1]
        d_a[t] += drive_passes[t] * d_u[t]
    uses = {"beta": d_u * membrane_passes * earlier(u)}
    if synaptic:
        uses["alpha"] = d_a * earlier(states["synaptic"].astype(np.float64))
    result = {}
    for name, use in uses.items():
        result[name] = summed(use, values[name].shape) * ((values[name] >= 0) & (values[name] <= 1))
    if not layer.integrates:
        through_resets = r * d_u if layer.reset == "subtract" else 0
        result["threshold"] = -summed(through_spikes + through_resets, theta.shape)
    return d_a, result


def gradients(
    settings: Settings,
    tensors: Tensors,
    x: Any,
    cotangents: Mapping[str, Mapping[str, Any]],
    forward: States | None = None,
    masks: Masks = None,
) -> dict[str, Array]:
    """The backward pass of the page's section 2, by hand, in float64.

    Args:
        settings: See `reference_layers`.
        tensors: Those of `trace`.
        x: That of `trace`.
        cotangents: Of `spikes`, `membrane` and `synaptic` [T, B, ...], by layer name; what's absent is 0.
        forward: The result of `trace`, in float64 if absent. Pass the one in float32 to use its membranes and spikes.
        masks: Those of `trace`.

    Returns:
        The gradients of all weights, biases, betas, thresholds and alphas under their names in `tensors`, and that of
        the network's input under `x`, in its shape; for integers it's the gradient of x / scale.
    """
    forward = trace(settings, tensors, x, np.float64, masks) if forward is None else forward
    grids, derivative = rounded(settings, tensors), surrogate(settings)
    result: dict[str, Array] = {}
    d_output: Array | None = None
    for layer in reversed(layers(settings)):
        states, weight = forward[layer.name], grids[f"{layer.name}.weight"]
        zeros = np.zeros(states["membrane"].shape)
        of_states = cotangents.get(layer.name, {})
        d_states = {name: zeros + of_states.get(name, 0.0) for name in ("spikes", "membrane", "synaptic")}
        if d_output is not None:
            d_states["spikes"] += pooled_backward(layer, states["spikes"], d_output) if layer.pool_after else d_output
        d_current, of_neurons = neurons_backward(layer, tensors, states, d_states, derivative)
        result |= {f"{layer.neurons}.{name}": value for name, value in of_neurons.items()}
        d_sums = d_current if layer.pool_after else pooled_backward(layer, states["sums"], d_current)
        result[f"{layer.name}.weight"], d_output = synapses_backward(layer, weight, states["input"], d_sums)
        if layer.has_bias:
            result[f"{layer.name}.bias"] = d_sums.reshape(-1, d_sums.shape[-1]).sum(0)
        d_output = d_output * kept_inputs(settings, layer, masks)
    assert d_output is not None
    result["x"] = d_output if np.ndim(x) == 5 else d_output.sum(0)
    return result
