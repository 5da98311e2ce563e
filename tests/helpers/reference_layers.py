"""The blocks of a network as plain data, from docs/design.md and docs/network.md alone.

`settings` maps the network's flags, as Python names, to values: a tuple has one value per convolution (geometry) or per
layer (the rest), anything else is for all of them, and an absent flag has its default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any

Settings = Mapping[str, Any]
Shape = tuple[int, ...]

DEFAULTS: dict[str, Any] = {
    "input_shape": (28, 28, 1),
    "num_classes": 10,
    "scale": 256,
    "input_bits": 8,
    "encoding": "direct",
    "time_steps": 100,
    "conv_channels": (32, 64),
    "hidden": (512,),
    "recurrent": (),  # only for `reference_nodes.chain`, as is the next
    "residual": (),
    "kernel_size": 3,
    "padding": "same",
    "stride": 1,
    "pool": "max",
    "pool_size": 2,
    "pool_stride": None,  # no flag: windows lie side by side
    "pool_after": False,
    "no_bias": False,
    "weight_bits": None,
    "neuron": "leaky",
    "reset": "subtract",
    "output": "spikes",
    "beta": 0.5,
    "threshold": 1.0,
    "alpha": None,
    "surrogate": None,  # `auto` depends on which parameters are learned, so the caller has to choose
    "slope": None,
    "dropout": 0.0,
}
RESETS = {
    "leaky": ("subtract", "zero", "mute", "deduct", "none"),
    "synaptic": ("subtract", "zero", "clear", "deduct", "none"),
}


@dataclass(frozen=True)
class Layer:
    """One block, with all that differs between blocks.

    Attributes:
        sum_shape: Of the convolution's or linear layer's sums.
        state_shape: Of the neurons, after a pool of currents but before a pool of spikes.
        out_shape: Of the next layer's input.
        kernel: Its size; 0 in a linear layer.
        products: n, how many products a neuron adds.
        input_bits, input_step: b and s: inputs are multiples of 2^-s, and at most 2^b of them.
        window_bits: a, if an average or a sum of currents has 2^a terms, else 0.
        bits: B, before any extra bits.
    """

    name: str
    neurons: str
    in_shape: Shape
    sum_shape: Shape
    state_shape: Shape
    out_shape: Shape
    products: int
    input_bits: int
    input_step: int
    window_bits: int
    bits: int
    weight_bits: int | None
    has_bias: bool
    neuron: str
    reset: str
    integrates: bool
    beta: Any
    threshold: Any
    alpha: Any
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    pool: str = "none"
    pool_size: int = 1
    pool_stride: int = 1
    pool_after: bool = False


def setting(settings: Settings, name: str, index: int | None = None) -> Any:
    """The value of a setting, or that of the layer `index` if there's a tuple with one per layer."""
    value = settings.get(name, DEFAULTS[name])
    if index is None or not isinstance(value, tuple | list):
        return value
    return value[0] if len(value) == 1 else value[index]


def power_of_two(value: float) -> int:
    exponent = round(log2(value))
    if 2.0**exponent != value:
        raise ValueError(f"expected a power of two, not {value}")
    return exponent


def positions(size: int, window: int, stride: int) -> int:
    """How many whole windows fit; an incomplete one at the end is dropped."""
    return (size - window) // stride + 1


def geometry(settings: Settings, i: int, name: str, shape: Shape, channels: int) -> dict[str, Any]:
    """The shapes of convolution `i`, and what they come from."""
    kernel, stride, pool, after = (setting(settings, key, i) for key in ("kernel_size", "stride", "pool", "pool_after"))
    same = setting(settings, "padding", i) == "same"
    if same and kernel % 2 == 0:
        raise ValueError(f"{name}: a kernel of even size {kernel} needs padding valid")
    padding = kernel // 2 if same else 0
    size = 1 if pool == "none" else setting(settings, "pool_size", i)
    step = 1 if pool == "none" else setting(settings, "pool_stride", i) or size
    if pool in ("avg", "sum") and size not in (2, 4, 8):
        raise ValueError(f"{name}: averages and sums need windows of 2, 4 or 8, not {size}")
    sums = (*(positions(n + 2 * padding, kernel, stride) for n in shape[:2]), channels)
    outputs = (*(positions(n, size, step) for n in sums[:2]), channels)
    if min(outputs) < 1:
        raise ValueError(f"{name}: nothing is left of an input of {shape}")
    return {
        "sum_shape": sums,
        "state_shape": sums if after else outputs,
        "out_shape": outputs,
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "pool": pool,
        "pool_size": size,
        "pool_stride": step,
        "pool_after": bool(after) and pool != "none",
    }


def layers(settings: Settings) -> list[Layer]:
    """Each block with its shapes, number of products, grid bits and neuron."""
    if unknown := settings.keys() - DEFAULTS.keys():
        raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
    channels = tuple(setting(settings, "conv_channels"))
    widths = (*channels, *setting(settings, "hidden"), setting(settings, "num_classes"))
    direct = setting(settings, "encoding") == "direct"
    input_bits = setting(settings, "input_bits") if direct else 0
    input_step = power_of_two(setting(settings, "scale")) if direct else 0
    shape = tuple(setting(settings, "input_shape"))
    result = []
    for i, width in enumerate(widths):
        keys = ("weight_bits", "neuron", "reset", "beta", "threshold", "alpha")
        options = {key: setting(settings, key, i) for key in keys}
        if i < len(channels):
            name = f"conv{i + 1}"
            block = geometry(settings, i, name, shape, width)
            products = block["kernel"] ** 2 * shape[2]
        else:
            name = f"fc{i + 1 - len(channels)}"
            block = dict.fromkeys(("sum_shape", "state_shape", "out_shape"), (width,))
            products = prod(shape)
        integrates = i == len(widths) - 1 and setting(settings, "output") == "integrator"
        if integrates:
            options["reset"] = "none"
        if options["reset"] not in RESETS[options["neuron"]]:
            raise ValueError(f"{name}: a {options['neuron']} neuron has no reset {options['reset']}")
        pool, after = block.get("pool"), block.get("pool_after")
        terms = power_of_two(block["pool_size"] ** 2) if pool in ("avg", "sum") else 0
        window_bits = 0 if after else terms
        bits = 24 - input_bits - ceil(log2(products + 8)) - window_bits
        if bits < 4:
            raise ValueError(f"{name}: only {bits} bits are left for a weight")
        layer = Layer(
            name=name,
            neurons=f"lif{i + 1}",
            in_shape=shape,
            products=products,
            input_bits=input_bits,
            input_step=input_step,
            window_bits=window_bits,
            bits=bits,
            has_bias=not setting(settings, "no_bias"),
            integrates=integrates,
            **options,
            **block,
        )
        result.append(layer)
        shape = layer.out_shape
        input_bits = terms if after else 0
        input_step = terms if after and pool == "avg" else 0
    return result
