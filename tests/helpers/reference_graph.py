"""What docs/design.md says that a graph of nodes computes, written from that page alone, in NumPy.

It shares no code with the engines, so tests can compare them with it. A network is a list of JSON objects (section 4),
`settings` are those of `reference_layers` that aren't about blocks, and `tensors` has torch's names and layouts. Arrays
over time are [T, B, H, W, C] or [T, B, N].
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from reference_grids import Array, Tensors, rounded
from reference_layers import Settings, setting
from reference_nodes import NEURONS, WEIGHTED, Described, Node, Nodes, built

States = dict[str, dict[str, Array]]
Masks = Mapping[str, Array] | None


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


def heaviside(x: Array) -> Array:
    return (x > 0).astype(x.dtype)


def taken(one: Node) -> list[tuple[Any, ...]]:
    """For each pixel of a window, in row-major order, its index in all windows of an array [..., H, W, C]."""
    step = one.stride
    ends = [step * (n - 1) + 1 for n in one.shape[:2]]
    offsets = [(y, x) for y in range(one.size) for x in range(one.size)]
    return [(..., slice(y, y + ends[0], step), slice(x, x + ends[1], step), slice(None)) for y, x in offsets]


def widened(one: Node, x: Array) -> Array:
    around = (one["padding"] or 0,) * 2
    return np.pad(x, [(0, 0), around, around, (0, 0)])


def computed(one: Node, weight: Array | None, bias: Array | float, x: Array) -> Array:
    """The output of a node without state for an input [B, ...]."""
    if one.kind == "convolution":
        assert weight is not None
        wide, taps = widened(one, x), weight.reshape(*weight.shape[:2], -1)
        return sum((wide[index] @ taps[:, :, i].T for i, index in enumerate(taken(one))), start=bias)
    if one.kind == "linear":
        assert weight is not None
        return x @ weight.T + bias
    if one.kind == "one_to_one":
        return x * weight + bias
    if one.kind == "flatten":
        return x if x.ndim == 2 else np.moveaxis(x, -1, 1).reshape(len(x), -1)
    windows = np.stack([x[index] for index in taken(one)])
    if one.kind == "max_pool":
        return windows.max(0)
    return windows.sum(0) / (len(windows) if one.kind == "avg_pool" else 1)


def parameters(one: Node, tensors: Tensors, dtype: Any) -> dict[str, Array]:
    """A neuron's parameters, not clipped."""
    values = {name: tensors.get(f"{one.name}.{name}", one[name]) for name in NEURONS[one.kind]}
    if missing := [name for name, value in values.items() if value is None]:
        raise ValueError(f"{one.name}: no {missing[0]}")
    return {name: np.asarray(value, dtype) for name, value in values.items()}


def clipped(values: Mapping[str, Array]) -> dict[str, Array]:
    return {name: value if name == "threshold" else np.clip(value, 0, 1) for name, value in values.items()}


def stepped(one: Node, values: Mapping[str, Array], state: dict[str, Array], currents: list[Array]) -> dict[str, Array]:
    """The state after a step, one operation at a time."""
    u, theta, beta, reset = state["membrane"], values["threshold"], values["beta"], one.resets
    r = heaviside(u - theta)
    result = {}
    if one.kind == "synaptic":
        a = values["alpha"] * state["synaptic"]
        for current in currents:
            a = a + current
        result["synaptic"], currents = a, [a]
    if reset == "clear" or (reset == "zero" and one.kind == "leaky"):
        u = (1 - r) * u
    if reset == "deduct":
        u = u - r * theta
    u = beta * u
    for current in currents:
        u = u + current
    if reset == "subtract":
        u = u - r * theta
    if reset == "mute" or (reset == "zero" and one.kind == "synaptic"):
        u = (1 - r) * u
    return result | {"membrane": u}


def delayed(outputs: Sequence[Array] | Array, initial: Array, t: int, delay: int) -> Array:
    """What a node gave `delay` steps before step t. Only the step before the first has spikes."""
    if t >= delay:
        return outputs[t - delay]
    return initial if delay == 1 else np.zeros_like(initial)


def dropping(nodes: Nodes) -> set[str]:
    """The linear layers, and what brings them spikes in the same step: dropout drops spikes where these read them."""
    result = {name for name, one in nodes.items() if one.kind == "linear"}
    for name, one in reversed(nodes.items()):
        if name in result:
            result |= {source for source, delay in one.inputs if not delay and nodes[source].kind not in NEURONS}
    return result


def trace(
    described: Described,
    settings: Settings,
    tensors: Tensors,
    x: Any,
    dtype: Any = np.float32,
    masks: Masks = None,
) -> States:
    """The whole window.

    Args:
        described: The network's nodes as JSON objects.
        settings: See `reference_layers`; those about blocks don't matter.
        tensors: Master weights, rounded here, and whichever of `lif1.beta` etc. aren't among the nodes' settings.
        x: [B, H, W, C] or [T, B, H, W, C]. See `network_input`.
        dtype: The type of the states. Sums are added in float64, and in float32 they have to fit.
        masks: Dropout's factors of spikes [B, ...], by neurons (or of the image).

    Returns:
        For each node its `output`, and for neurons their `membrane`, `spikes`, perhaps `synaptic`, and `current` unless
        they're separate: the sum of their inputs.
    """
    nodes, grids = built(described, settings), rounded(described, settings, tensors)
    frames, readers = network_input(settings, x), dropping(nodes)
    neurons = [one for one in nodes.values() if one.kind in NEURONS]
    values = {one.name: clipped(parameters(one, tensors, dtype)) for one in neurons}
    zeros = {one.name: np.zeros((frames.shape[1], *one.shape), dtype) for one in neurons}
    states = {one.name: {name: zeros[one.name] for name in ("membrane", "synaptic")} for one in neurons}
    history: dict[str, dict[str, list[Array]]] = {name: {"output": []} for name in nodes}

    def spikes(one: Node) -> Array:
        u = states[one.name]["membrane"]
        return np.zeros_like(u) if one["integrator"] else heaviside(u - values[one.name]["threshold"])

    initial = {name: np.zeros((frames.shape[1], *one.shape)) for name, one in nodes.items()}
    initial |= {one.name: spikes(one).astype(np.float64) for one in neurons}
    for t, frame in enumerate(frames):
        for name, one in nodes.items():
            entering = []
            for source, delay in one.inputs:
                value = delayed(history[source]["output"], initial[source], t, delay)
                dropped = masks and source in masks and name in readers and not delay
                entering.append(value * masks[source] if dropped else value)
            records = history[name]
            if name == "image":
                output = frame
            elif one.kind in NEURONS:
                if not one["separate"]:
                    entering = [sum(entering[1:], start=entering[0])]
                    records.setdefault("current", []).append(entering[0].astype(dtype))
                currents = [current.astype(dtype) for current in entering]
                for current, exact in zip(currents, entering, strict=True):
                    assert (current == exact).all() or dtype != np.float32, f"{name}: a sum doesn't fit float32"
                states[name] = stepped(one, values[name], states[name], currents)
                output = spikes(one).astype(np.float64)
                for key, array in (states[name] | {"spikes": spikes(one)}).items():
                    records.setdefault(key, []).append(array)
            else:
                weight, bias = grids.get(f"{name}.weight"), grids.get(f"{name}.bias", 0.0)
                output = computed(one, weight, bias, sum(entering[1:], start=entering[0]))
            records["output"].append(output)
    return {name: {key: np.stack(arrays) for key, arrays in records.items()} for name, records in history.items()}


# The backward pass


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


def passed_back(one: Node, weight: Array | None, x: Array, d: Array) -> tuple[Array | float, Array]:
    """The gradients of a stateless node's weight and input [B, ...]."""
    if one.kind == "convolution":
        assert weight is not None
        wide, taps = widened(one, x), weight.reshape(*weight.shape[:2], -1)
        d_wide, d_taps, p = np.zeros_like(wide), np.zeros_like(taps), one["padding"] or 0
        for i, index in enumerate(taken(one)):
            d_taps[:, :, i] = np.einsum("bhwo,bhwi->oi", d, wide[index])
            d_wide[index] += d @ taps[:, :, i]
        return d_taps.reshape(weight.shape), d_wide[:, p : d_wide.shape[1] - p, p : d_wide.shape[2] - p]
    if one.kind == "linear":
        assert weight is not None
        return d.T @ x, d @ weight
    if one.kind == "one_to_one":
        assert weight is not None
        return (d * x).sum(0), d * weight
    if one.kind == "flatten":
        height, width, channels = x.shape[1:] if x.ndim == 4 else (1, 1, 0)
        return 0.0, d if x.ndim == 2 else np.moveaxis(d.reshape(-1, channels, height, width), 1, -1)
    indices, result = taken(one), np.zeros(x.shape)
    first = np.stack([x[index] for index in indices]).argmax(0)
    for i, index in enumerate(indices):
        share = first == i if one.kind == "max_pool" else 1 / (len(indices) if one.kind == "avg_pool" else 1)
        result[index] += d * share
    return 0.0, result


def gradients(
    described: Described,
    settings: Settings,
    tensors: Tensors,
    x: Any,
    cotangents: Mapping[str, Mapping[str, Any]],
    forward: States | None = None,
    masks: Masks = None,
) -> dict[str, Array]:
    """The backward pass of the page's section 2, by hand, in float64.

    Args:
        described: That of `trace`, as are `settings`, `tensors`, `x` and `masks`.
        cotangents: Of `spikes`, `membrane` and `synaptic` [T, B, ...], by neurons; what's absent is 0.
        forward: The result of `trace`, in float64 if absent. Pass the one in float32 to use its membranes and spikes.

    Returns:
        The gradients of all weights, biases and parameters under their names in `tensors`, and that of the network's
        input under `x`, in its shape; for integers it's the gradient of x / scale.
    """
    nodes, grids, derivative = built(described, settings), rounded(described, settings, tensors), surrogate(settings)
    forward = trace(described, settings, tensors, x, np.float64, masks) if forward is None else forward
    readers = dropping(nodes)
    output = {name: forward[name]["output"] for name in nodes}
    d_output = {name: np.zeros(array.shape) for name, array in output.items()}
    neurons = [one for one in nodes.values() if one.kind in NEURONS]
    values = {one.name: parameters(one, tensors, forward[one.name]["membrane"].dtype) for one in neurons}
    values = {name: {key: value.astype(np.float64) for key, value in own.items()} for name, own in values.items()}
    d_later = {one.name: {"membrane": 0.0, "synaptic": 0.0} for one in neurons}
    initial = {name: np.zeros(array.shape[1:]) for name, array in output.items()}
    d_before = {one.name: np.zeros_like(initial[one.name]) for one in neurons}
    initial |= {
        name: d + heaviside(-values[name]["threshold"]) for name, d in d_before.items() if not nodes[name]["integrator"]
    }
    uses: dict[str, dict[str, list[Array]]] = {one.name: {name: [] for name in values[one.name]} for one in neurons}
    result: dict[str, Any] = {name: np.zeros(array.shape) for name, array in grids.items() if "exponents" not in name}

    def neurons_back(one: Node, t: int) -> Array:
        """The gradient of each current."""
        name, inside = one.name, clipped(values[one.name])
        of, theta, reset, synaptic = forward[name], inside["threshold"], one.resets, one.kind == "synaptic"
        wanted = {key: np.asarray(array)[t] for key, array in cotangents.get(name, {}).items()}
        u = of["membrane"][t].astype(np.float64)
        earlier = of["membrane"][t - 1].astype(np.float64) if t else np.zeros_like(u)
        stays = 1 - heaviside(earlier - theta)
        d_spikes = d_output[name][t] + wanted.get("spikes", 0.0)
        through = np.zeros_like(earlier) if one["integrator"] else derivative(u - theta) * d_spikes
        d_u = d_later[name]["membrane"] + through + wanted.get("membrane", 0.0)
        d_sum = d_u * stays if reset == "mute" or (reset == "zero" and synaptic) else d_u
        d_left = d_sum * stays if reset == "clear" or (reset == "zero" and not synaptic) else d_sum
        d_later[name]["membrane"] = inside["beta"] * d_left
        taken = (1 - stays) * (theta if reset == "deduct" else 0.0)
        uses[name]["beta"].append(d_left * (earlier - taken))
        lost = {"subtract": 1.0, "deduct": inside["beta"]}.get(reset, 0.0)
        uses[name]["threshold"].append(-through - lost * (1 - stays) * d_u)
        if not synaptic:
            return d_sum
        d_a = d_sum + d_later[name]["synaptic"] + wanted.get("synaptic", 0.0)
        d_later[name]["synaptic"] = inside["alpha"] * d_a
        uses[name]["alpha"].append(d_a * (of["synaptic"][t - 1] if t else 0.0))
        return d_a

    def arrive(d: Array, source: str, t: int, delay: int) -> None:
        """Adds to the gradient of what an input was. What's 0 before the first step has none."""
        if t >= delay:
            d_output[source][t - delay] += d
        elif delay == 1 and source in d_before:
            d_before[source] += d

    for t in reversed(range(len(output["image"]))):
        for name, one in reversed(nodes.items()):
            if one.kind in NEURONS:
                d_current = neurons_back(one, t)
                for source, delay in one.inputs:
                    arrive(d_current, source, t, delay)
            elif name != "image":
                d, factors = d_output[name][t], [1.0 for _ in one.inputs]
                if masks and name in readers:
                    factors = [1.0 if delay else masks.get(source, 1.0) for source, delay in one.inputs]
                inputs = [delayed(output[source], initial[source], t, delay) for source, delay in one.inputs]
                entering = sum(x * factor for x, factor in zip(inputs, factors, strict=True))
                d_weight, d_input = passed_back(one, grids.get(f"{name}.weight"), entering, d)
                if one.kind in WEIGHTED:
                    result[f"{name}.weight"] += d_weight
                if one.kind in WEIGHTED and one.has_bias:
                    result[f"{name}.bias"] += d.reshape(-1, d.shape[-1]).sum(0)
                for (source, delay), factor in zip(one.inputs, factors, strict=True):
                    arrive(d_input * factor, source, t, delay)
    for one in neurons:
        theta = values[one.name]["threshold"]
        if not one["integrator"]:
            uses[one.name]["threshold"].append(
                -derivative(np.zeros_like(d_before[one.name]) - theta) * d_before[one.name]
            )
        for name, arrays in uses[one.name].items():
            if name == "threshold" and one["integrator"]:
                continue
            value, use = values[one.name][name], np.stack(arrays)
            inside = name == "threshold" or ((value >= 0) & (value <= 1))
            result[f"{one.name}.{name}"] = summed(use, value.shape) * inside
    result["x"] = d_output["image"] if np.ndim(x) == 5 else d_output["image"].sum(0)
    return result
