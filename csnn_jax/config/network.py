"""The network: its layers, its neurons and the number of time steps."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, get_args

from csnn_jax.config import grid
from csnn_jax.config.chain import GEOMETRY, chain, per_convolution
from csnn_jax.config.graph import Graph, Padding, Pool
from csnn_jax.config.pixels import SPIKES, Pixels
from csnn_jax.neurons import NEURONS, PARAMETERS, NeuronFields
from csnn_jax.neurons.neuron import Neuron, Reset
from csnn_jax.options import Rule, check_rules, option
from csnn_jax.options.kinds import SWITCH, choice, count, each, number, several

Encoding = Literal["direct", "rate", "latency"]
Readout = Literal["spikes", "membrane"]
Output = Literal["spiking", "integrator"]
SurrogateName = Literal[
    "fast_sigmoid",
    "atan",
    "sigmoid",
    "straight_through",
    "triangular",
    "heaviside",
    "spike_rate_escape",
    "sparse_fast_sigmoid",
    "leaky_spike",
]
SLOPELESS = ("straight_through", "heaviside")
"""Surrogates without a slope; setting `slope` for one of them is an error."""
MOST_CLASSES, MOST_LAYERS, MOST_STEPS = 2**16, 1000, 2**24
"""Limits far above those of any real network; a config.json from someone else can state any sizes, and names and layers
are made from them before memory is checked. ImageNet-21k has a third of these classes."""
WEIGHT_BITS = count(grid.FEWEST, grid.WIDEST)
"""The bits that a weight can have, including the sign."""
_data, _network, _neuron = (partial(option, group=name) for name in ("data", "network", "neuron"))
_SHAPE = "three positive whole numbers: height, width, channels"
_SCALE = "that is a power of two from 2^-16 to 2^20, such as 256"


@dataclass(frozen=True)
class ModelConfig(NeuronFields):
    """The network, its neurons and the number of time steps. docs/design.md has the equations.

    Lists, as read from JSON and YAML, become tuples, and NumPy numbers become Python numbers.
    """

    # fmt: off
    input_shape: tuple[int, int, int] = _network((28, 28, 1), several(count(), 3, expected=_SHAPE), """
        Height, width (pixels) and channels of an image.""")
    conv_channels: tuple[int, ...] = _network((32, 64), several(count()), """
        Output channels of each conv-pool-LIF block.""")
    kernel_size: int | tuple[int, ...] = _network(3, each(count(), "convolution"), """
        Height and width of the kernels (pixels): one value, or one per convolution. Even sizes need --padding
        valid.""")
    stride: int | tuple[int, ...] = _network(1, each(count(), "convolution"), """
        Stride of the convolutions (pixels): one value, or one per convolution.""")
    padding: Padding | tuple[Padding, ...] = _network("same", each(choice(Padding), "convolution"), """
        Zero padding of the convolutions: same (half a kernel on each side, which keeps the size at stride 1) or valid
        (none); one value, or one per convolution.""")
    hidden: tuple[int, ...] = _network((512,), several(count()), """
        Number of neurons in each hidden linear-LIF block.""")
    num_classes: int = _network(10, count(2, MOST_CLASSES), """
        Number of output neurons; by default, training uses the data set's number of classes.""")
    pool: Pool | tuple[Pool, ...] = _network("max", each(choice(Pool), "convolution"), """
        Pooling after each convolution: the maximum, average or sum of each window, or none; one value, or one per
        convolution.""")
    pool_size: int | tuple[int, ...] = _network(2, each(count(2), "convolution"), """
        Height and width of the pooling windows, which don't overlap: one value, or one per convolution.""")
    pool_after: bool = _network(False, SWITCH, """
        Pool the neurons' spikes instead of the convolutions' outputs.""")
    bias: bool = _network(True, SWITCH, """
        Convolutions and linear layers have a bias, unless --no-bias is given.""")
    weight_bits: int | None = _network(None, WEIGHT_BITS, """
        Train and run the network with weights of this many bits, 2 to 8 including the sign; default: as many as stay
        exact.""")
    reset: Reset | tuple[Reset, ...] = _neuron("subtract", each(choice(Reset), "layer"), """
        What a spike does to the membrane one step later: subtract the threshold, set it to zero, or none. Synaptic
        neurons also have clear, which sets it to zero before the input is added. One value for all layers, or one per
        layer.""")
    output: Output = _neuron("spiking", choice(Output), """
        Neurons of the last layer: spiking, like all others, or integrator, whose neurons neither spike nor reset; the
        class is then read from their membranes.""")
    surrogate: SurrogateName | Literal["auto"] = _neuron(
        "auto", choice(("auto", *get_args(SurrogateName))), """
        Surrogate derivative of the spike in the backward pass (snnTorch's names); auto: fast_sigmoid for the default
        network, otherwise atan.""")
    slope: float | None = _neuron(None, number(above=0), """
        Slope of the surrogate (its k, alpha or threshold). Default: snnTorch's, such as 25 for fast_sigmoid, but 1 if
        auto chose atan for neurons without a reset.""")
    time_steps: int = _network(100, count(1, MOST_STEPS), """
        Number of time steps for which each image is presented.""")
    encoding: Encoding = _data("direct", choice(Encoding), """
        How images become input: direct (the same image at each step), rate (Bernoulli spikes with the pixel's value as
        their probability) or latency (one spike per nonzero pixel, earlier for brighter pixels).""")
    readout: Readout = _network("spikes", choice(Readout), """
        How the class is chosen: spikes (the output neuron with the most spikes) or membrane (the one with the largest
        sum of its membrane over the window; always used with --output integrator).""")
    scale: float | None = _data(None, number(limits=_SCALE, also=grid.is_power_of_two), """
        Power of two to divide pixel values by. Default: depends on the data set, 256 for images of bytes, 1 for counts
        (integers with a time axis) and for images of only 0 and 1.""")
    input_bits: int | None = option(None, count(0, grid.MOST_INPUT), """
        Pixels are integer multiples of 1 / scale, from 0 to 2^input_bits; None: 8, for bytes.""", has_flag=False)
    # fmt: on

    def __post_init__(self):
        self.check_values()
        for name, parameter in self.kind.parameters.items():
            if getattr(self, name) is None:
                self._set(name, parameter.default)
        check_rules(self, _RULES, self)
        self._set("per_channel", tuple(name for name in self.kind.parameters if name in self.per_channel))
        for name in ("reset", *GEOMETRY):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(set(value)) == 1:
                self._set(name, value[0])
        if all(pool == "none" for pool in per_convolution(self, self.pool)):
            self._set("pool_after", False)
        if self.output == "integrator":
            self._set("readout", "membrane")
        _ = self.graph  # raises UserError if a node doesn't fit

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @cached_property
    def graph(self) -> Graph:
        """The network as a graph."""
        return chain(self)

    @property
    def narrower(self) -> tuple[str, ...]:
        """A line for each layer whose weights have fewer bits than requested."""
        exact = ((node.name, node.grid.finest + 1) for node in self.graph.weighted)
        return tuple(f"{name} uses {n} bits, all that stay exact" for name, n in exact if n < (self.weight_bits or 0))

    @property
    def pixels(self) -> Pixels:
        """What the network's images consist of."""
        bits = Pixels().bits if self.input_bits is None else self.input_bits
        return Pixels(Pixels().scale if self.scale is None else float(self.scale), bits)

    @property
    def entering(self) -> Pixels:
        """What enters the first layer: the pixels, or the spikes that encode them."""
        return self.pixels if self.encoding == "direct" else SPIKES

    @property
    def kind(self) -> Neuron:
        """The neuron model."""
        return NEURONS[self.neuron]

    def each(self, name: str) -> tuple:
        """A field's value for each layer; the field holds one value for all layers or one per layer."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * self.depth

    @property
    def resets(self) -> tuple[Reset, ...]:
        """The reset of each layer; "none" for an integrator."""
        return tuple(node.operation.reset for node in self.graph.neurons)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """One threshold per layer."""
        return tuple(node.operation["threshold"] for node in self.graph.neurons)

    @property
    def depth(self) -> int:
        """Number of layers of neurons."""
        return len(self.conv_channels) + len(self.hidden) + 1


def _each_convolution(name: str) -> Rule:
    """The rule that an option has one value, or one per convolution."""

    def expected(model: ModelConfig) -> str:
        depth = len(model.conv_channels)
        return f"one value, or {depth} (one per convolution)" if depth > 1 else "one value"

    def holds(model: ModelConfig) -> bool:
        value, depth = getattr(model, name), len(model.conv_channels)
        return not isinstance(value, tuple) or (depth > 0 and len(value) == depth)

    return Rule(name, expected, holds)


def _each_layer(name: str) -> Rule:
    """The rule that an option has one value, or one per layer."""
    return Rule(
        name,
        lambda model: f"one value, or {model.depth} (one per layer)",
        lambda model: len(model.each(name)) == model.depth,
    )


def _of_neuron(name: str, parameter: str) -> Rule:
    """The rule that an option isn't set if the neurons lack the parameter that it's about."""
    others = " or ".join(kind for kind, neuron in NEURONS.items() if parameter in neuron.parameters)
    return Rule(
        name,
        lambda model: f"--neuron {others}; {model.neuron} has no {parameter}",
        lambda model: parameter in model.kind.parameters or getattr(model, name) in (None, False),
    )


def _has_odd_kernels(model: ModelConfig) -> bool:
    sizes, paddings = per_convolution(model, model.kernel_size), per_convolution(model, model.padding)
    return all(size % 2 == 1 for size, padding in zip(sizes, paddings, strict=True) if padding == "same")


_RULES = (
    Rule("hidden", f"at most {MOST_LAYERS:,} layers", lambda model: model.depth <= MOST_LAYERS or not model.hidden),
    Rule("conv_channels", f"at most {MOST_LAYERS:,} layers", lambda model: model.depth <= MOST_LAYERS),
    *map(_each_convolution, GEOMETRY),
    Rule("kernel_size", "odd sizes with --padding same; even ones need valid", _has_odd_kernels),
    Rule(
        "slope",
        lambda model: f"no value; {model.surrogate} has no slope",
        lambda model: model.slope is None or model.surrogate not in SLOPELESS,
    ),
    *(_of_neuron(name, name) for name in PARAMETERS),
    *(_of_neuron(f"learn_{name}", name) for name in PARAMETERS),
    *map(_each_layer, ("reset", *PARAMETERS)),
    Rule(
        "per_channel",
        lambda model: f"any of {', '.join(model.kind.parameters)} with --neuron {model.neuron}",
        lambda model: set(model.per_channel) <= model.kind.parameters.keys(),
    ),
    Rule(
        "reset",
        lambda model: f"one of {', '.join(model.kind.resets)} with --neuron {model.neuron}",
        lambda model: set(model.each("reset")) <= set(model.kind.resets),
    ),
)
