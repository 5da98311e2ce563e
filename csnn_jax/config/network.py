"""The network: its layers, its neurons and the number of time steps."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from csnn_jax.config import grid
from csnn_jax.config.chain import GEOMETRY, chain, per_convolution
from csnn_jax.config.checks import check, check_choice, flag_of, is_count, is_counts, is_number, settle
from csnn_jax.config.graph import Graph, Padding, Pool
from csnn_jax.config.neuron_checks import check_neurons
from csnn_jax.config.sizes import check_sizes
from csnn_jax.errors import UserError
from csnn_jax.neurons import NEURONS, PARAMETERS, NeuronFields
from csnn_jax.neurons.neuron import Neuron, Reset

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
RECORDED = ("input_bits", "classes")
"""Fields that follow from the data and have no flag."""
PIXEL = 256.0
"""Bytes are divided by this unless a data set or a flag says otherwise."""


def check_bits(bits: int | None) -> None:
    """Raises UserError unless `bits` is None or a valid number of bits of a weight."""
    ok = bits is None or (is_count(bits, grid.FEWEST) and bits <= grid.WIDEST)
    check("--weight-bits", bits, f"a whole number from {grid.FEWEST} to {grid.WIDEST}", ok)


@dataclass(frozen=True)
class ModelConfig(NeuronFields):
    """The network, its neurons and the number of time steps. docs/design.md has the equations.

    Lists, as read from JSON and YAML, become tuples, and NumPy numbers become Python numbers.
    """

    input_shape: tuple[int, int, int] = (28, 28, 1)
    """Height, width (pixels) and channels of an image."""
    conv_channels: tuple[int, ...] = (32, 64)
    """Output channels of each conv-pool-LIF block."""
    kernel_size: int | tuple[int, ...] = 3
    """Height and width of the kernels (pixels): one value, or one per convolution. Even sizes need --padding valid."""
    stride: int | tuple[int, ...] = 1
    """Stride of the convolutions (pixels): one value, or one per convolution."""
    padding: Padding | tuple[Padding, ...] = "same"
    """Zero padding of the convolutions: same (half a kernel on each side, which keeps the size at stride 1) or valid
    (none); one value, or one per convolution."""
    hidden: tuple[int, ...] = (512,)
    """Number of neurons in each hidden linear-LIF block."""
    num_classes: int = 10
    """Number of output neurons; by default, training uses the data set's number of classes."""
    pool: Pool | tuple[Pool, ...] = "max"
    """Pooling after each convolution: the maximum, average or sum of each window, or none; one value, or one per
    convolution."""
    pool_size: int | tuple[int, ...] = 2
    """Height and width of the pooling windows, which don't overlap: one value, or one per convolution."""
    pool_after: bool = False
    """Pool the neurons' spikes instead of the convolutions' outputs."""
    bias: bool = True
    """Convolutions and linear layers have a bias; --no-bias removes it."""
    weight_bits: int | None = None
    """Train and run the network with weights of this many bits, 2 to 8 including the sign; default: as many as stay
    exact."""
    reset: Reset | tuple[Reset, ...] = "subtract"
    """What a spike does to the membrane one step later: subtract the threshold, set it to zero, or none. Synaptic
    neurons also have clear, which sets it to zero before the input is added. One value for all layers, or one per
    layer."""
    output: Output = "spiking"
    """Neurons of the last layer: spiking, like all others, or integrator, whose neurons neither spike nor reset; the
    class is then read from their membranes."""
    surrogate: SurrogateName | Literal["auto"] = "auto"
    """Surrogate derivative of the spike in the backward pass (snnTorch's names); auto: fast_sigmoid for the default
    network, otherwise atan."""
    slope: float | None = None
    """Slope of the surrogate (its k, alpha or threshold). Default: snnTorch's, such as 25 for fast_sigmoid, but 1 if
    auto chose atan for neurons without a reset."""
    time_steps: int = 100
    """Number of time steps for which each image is presented."""
    encoding: Encoding = "direct"
    """How images become input: direct (the same image at each step), rate (Bernoulli spikes with the pixel's value as
    their probability) or latency (one spike per nonzero pixel, earlier for brighter pixels)."""
    readout: Readout = "spikes"
    """How the class is chosen: spikes (the output neuron with the most spikes) or membrane (the one with the largest
    sum of its membrane over the window; always used with --output integrator)."""
    scale: float | None = None
    """Power of two to divide pixel values by. Default: depends on the data set, 256 for images of bytes, 1 for counts
    (integers with a time axis) and for images of only 0 and 1."""
    input_bits: int | None = None
    """Pixels are integer multiples of 1 / scale, from 0 to 2^input_bits; None: 8, for bytes."""

    def __post_init__(self):
        settle(self)
        check(
            "--input-shape",
            self.input_shape,
            "three positive whole numbers: height, width, channels",
            is_counts(self.input_shape) and len(self.input_shape) == 3,
        )
        for flag, value in (("--conv-channels", self.conv_channels), ("--hidden", self.hidden)):
            several = "positive whole numbers" if isinstance(value, tuple) else "a tuple of positive whole numbers"
            check(flag, value, several, is_counts(value))
        self._check_geometry()
        check("--num-classes", self.num_classes, "a whole number of at least 2", is_count(self.num_classes, 2))
        check_choice("--output", self.output, Output)
        check_choice("--encoding", self.encoding, Encoding)
        check_choice("--readout", self.readout, Readout)
        _check_surrogate(self.surrogate)
        has_slope = self.surrogate not in SLOPELESS
        check("--slope", self.slope, "a positive number", self.slope is None or is_number(self.slope, 0.0))
        check("--slope", self.slope, f"no value; {self.surrogate} has no slope", self.slope is None or has_slope)
        fits = self.scale is None or (is_number(self.scale, 0.0) and grid.is_power_of_two(self.scale))
        check("--scale", self.scale, "a power of two from 2^-16 to 2^20, such as 256", fits)
        few = self.input_bits is None or (is_count(self.input_bits, 0) and self.input_bits <= grid.MOST_INPUT)
        check("input_bits", self.input_bits, f"a whole number from 0 to {grid.MOST_INPUT}", few)
        check_bits(self.weight_bits)
        check("--time-steps", self.time_steps, "a whole number of at least 1", is_count(self.time_steps))
        check_sizes(self)
        check("--pool-after", self.pool_after, "true or false", isinstance(self.pool_after, bool))
        check("--bias", self.bias, "true or false", isinstance(self.bias, bool))
        check("--neuron", self.neuron, f"one of {', '.join(NEURONS)}", self.neuron in [*NEURONS])
        check_neurons(self, self.kind, PARAMETERS)
        if self.output == "integrator":
            object.__setattr__(self, "readout", "membrane")
        _ = self.graph  # raises UserError if a node doesn't fit

    def _check_geometry(self) -> None:
        """Raises UserError for an impossible geometry; collapses equal values for all convolutions into one."""
        n = len(self.conv_channels)
        for choices, flag, literal in ((self.padding, "--padding", Padding), (self.pool, "--pool", Pool)):
            for choice in choices if isinstance(choices, tuple) else (choices,):
                check_choice(flag, choice, literal)
        for flag, sizes, least in (
            ("--kernel-size", self.kernel_size, 1),
            ("--stride", self.stride, 1),
            ("--pool-size", self.pool_size, 2),
        ):
            expected = "positive whole numbers" if least == 1 else f"whole numbers of at least {least}"
            enough = (is_count(size, least) for size in (sizes if isinstance(sizes, tuple) else (sizes,)))
            check(flag, sizes, expected, all(enough))
        for name in GEOMETRY:
            value = getattr(self, name)
            flag = flag_of(name)
            if isinstance(value, tuple):
                several = f"one value, or {n} (one per convolution)" if n > 1 else "one value"
                check(flag, value, several, n > 0 and len(value) == n)
                if len(set(value)) == 1:
                    object.__setattr__(self, name, value[0])
        if all(pool == "none" for pool in per_convolution(self, self.pool)):
            object.__setattr__(self, "pool_after", False)
        sizes, paddings = per_convolution(self, self.kernel_size), per_convolution(self, self.padding)
        even = any(k % 2 == 0 and padding == "same" for k, padding in zip(sizes, paddings, strict=True))
        check("--kernel-size", self.kernel_size, "odd sizes with --padding same; even ones need valid", not even)

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
    def pixel_scale(self) -> float:
        """Pixel values are divided by this."""
        return PIXEL if self.scale is None else float(self.scale)

    @property
    def pixel_bits(self) -> int:
        """Pixels go up to 2 to this power, in multiples of 1 / `pixel_scale`."""
        return 8 if self.input_bits is None else self.input_bits

    @property
    def takes_bytes(self) -> bool:
        """Whether the network's images are bytes or counts, not floats, which have finer steps."""
        return self.pixel_bits <= 8

    @property
    def brightest(self) -> float:
        """The pixel value of full brightness, the reference for encoders and pictures."""
        return 255.0 if self.pixel_scale == PIXEL else self.pixel_scale

    @property
    def input_scale(self) -> float:
        """The network's input is divided by this; 1 for encoded spikes, which are 0 or 1 already."""
        return self.pixel_scale if self.encoding == "direct" else 1.0

    @property
    def entering_bits(self) -> int:
        """The network's input goes up to 2 to this power, in multiples of 1 / `input_scale`."""
        return self.pixel_bits if self.encoding == "direct" else 0

    @property
    def kind(self) -> Neuron:
        """The neuron model."""
        return NEURONS[self.neuron]

    def each(self, name: str) -> tuple:
        """A field's value for each layer; the field holds one value for all layers or one per layer."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * self._depth

    @property
    def resets(self) -> tuple[Reset, ...]:
        """The reset of each layer; "none" for an integrator."""
        return tuple(node.operation.reset for node in self.graph.neurons)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """One threshold per layer."""
        return tuple(node.operation["threshold"] for node in self.graph.neurons)

    @property
    def _depth(self) -> int:
        return len(self.conv_channels) + len(self.hidden) + 1


def _check_surrogate(name: object) -> None:
    if name == "auto":
        return
    if name == "SSO":
        raise UserError(
            "--surrogate SSO: its gradients are random, so no two frameworks can agree on them; "
            f"expected one of {', '.join(get_args(SurrogateName))}"
        )
    check_choice("--surrogate", name, SurrogateName)
