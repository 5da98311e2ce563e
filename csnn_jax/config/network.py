"""The network: its stack, its neurons and the window it is run for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

from csnn_jax.config import grid
from csnn_jax.config.checks import check, check_choice, flag_of, is_count, is_counts, is_number, settle, show
from csnn_jax.config.geometry import Layer, Padding, Pool, Pooling
from csnn_jax.config.neuron_checks import check_neurons
from csnn_jax.errors import UserError
from csnn_jax.neurons import NEURONS, PARAMETERS, NeuronFields
from csnn_jax.neurons.neuron import Neuron, Neurons, Reset

T = TypeVar("T")

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
"""Surrogates that `slope` does not change, and which refuse one."""
GEOMETRY = ("kernel_size", "stride", "padding", "pool", "pool_size")
"""Fields with one value for all convolutions, or one for each."""
RECORDED = ("input_bits", "classes")
"""Fields that the data decides, and that no flag gives."""
PIXEL = 256.0
"""What bytes are divided by unless a data set or a flag says otherwise."""
NEVER = 2.0**100
"""The threshold of an integrator: no membrane gets there, and no arithmetic with it overflows."""


def check_bits(bits: int | None) -> None:
    """Raises UserError unless a weight may have so many bits."""
    ok = bits is None or (is_count(bits, grid.FEWEST) and bits <= grid.WIDEST)
    check("--weight-bits", bits, f"a whole number from {grid.FEWEST} to {grid.WIDEST}", ok)


@dataclass(frozen=True)
class ModelConfig(NeuronFields):
    """The network, its neurons and the window it is run for. The equations stand in docs/design.md.

    Lists, as JSON and YAML have them, are taken as tuples, and NumPy's numbers as Python's.
    """

    input_shape: tuple[int, int, int] = (28, 28, 1)
    """Image height, width (pixels) and channels."""
    conv_channels: tuple[int, ...] = (32, 64)
    """Output channels of each conv-pool-LIF block."""
    kernel_size: int | tuple[int, ...] = 3
    """Height and width of the kernels (pixels): one value, or one per convolution. Even ones take --padding valid."""
    stride: int | tuple[int, ...] = 1
    """Pixels from one position of a kernel to the next: one value, or one per convolution."""
    padding: Padding | tuple[Padding, ...] = "same"
    """Zeros around a convolution's input: same, half a kernel on each side, which keeps the size at stride 1, or valid,
    none; one value, or one per convolution."""
    hidden: tuple[int, ...] = (512,)
    """Neurons of each hidden linear-LIF block."""
    num_classes: int = 10
    """Output neurons; at the default, training takes the number of classes of the data set."""
    pool: Pool | tuple[Pool, ...] = "max"
    """Pooling after each convolution: the maximum, average or sum of every window, or none; one value, or one per
    convolution."""
    pool_size: int | tuple[int, ...] = 2
    """Height and width of a pool's windows, which don't overlap: one value, or one per convolution."""
    pool_after: bool = False
    """Pool the neurons' spikes, not the convolutions before them."""
    bias: bool = True
    """Add a number per output channel to the convolutions and linear layers."""
    weight_bits: int | None = None
    """Bits of a weight with its sign, 2 to 8, at which the network is trained and runs; None: as many as stay exact."""
    reset: Reset | tuple[Reset, ...] = "subtract"
    """What a spike does to the membrane one step later: subtract the threshold, set to zero, or none; synaptic neurons
    have clear, too, which sets it to zero before the input is added; one value for all layers, or one per layer."""
    output: Output = "spiking"
    """Neurons of the last layer: spiking as all others, or an integrator, whose neurons neither spike nor reset; the
    class is read from their membranes."""
    surrogate: SurrogateName | Literal["auto"] = "auto"
    """Derivative that stands in for the spike's in the backward pass (snnTorch's names); auto: fast_sigmoid for the
    default stack, else atan."""
    slope: float | None = None
    """Sharpness of the surrogate (its k, alpha or threshold); None: snnTorch's default, 25 for fast_sigmoid, and 1
    where auto chose atan for neurons without a reset."""
    time_steps: int = 100
    """Time steps that each image is presented for."""
    encoding: Encoding = "direct"
    """Image to input: the same image every step, Bernoulli spikes at the rate of the pixel, or one spike for each
    pixel above 0, the brighter the earlier."""
    readout: Readout = "spikes"
    """What the class is read from: the output neuron with the most spikes, or the one whose membrane has the largest
    sum over the window, as of every --output integrator."""
    scale: float | None = None
    """What pixel values are divided by, a power of two; None: what the data set says, 256 for images of bytes, 1 for
    counts (integers with a time axis) and where there are only 0 and 1."""
    input_bits: int | None = None
    """Pixels are whole multiples of 1 / scale, at most 2 to this power of them; None: 8, as bytes."""

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
        check("--slope", self.slope, f"none, {self.surrogate} has no slope", self.slope is None or has_slope)
        fits = self.scale is None or (is_number(self.scale, 0.0) and grid.is_power_of_two(self.scale))
        check("--scale", self.scale, "a power of two from 2^-16 to 2^20, such as 256", fits)
        few = self.input_bits is None or (is_count(self.input_bits, 0) and self.input_bits <= grid.MOST_INPUT)
        check("input_bits", self.input_bits, f"a whole number from 0 to {grid.MOST_INPUT}", few)
        check_bits(self.weight_bits)
        check("--time-steps", self.time_steps, "a whole number of at least 1", is_count(self.time_steps))
        check("--pool-after", self.pool_after, "true or false", isinstance(self.pool_after, bool))
        check("--bias", self.bias, "true or false", isinstance(self.bias, bool))
        check("--neuron", self.neuron, f"one of {', '.join(NEURONS)}", self.neuron in [*NEURONS])
        check_neurons(self, self.kind, PARAMETERS)
        if self.output == "integrator":
            object.__setattr__(self, "readout", "membrane")
        for layer in self.layers:
            if 0 in layer.out_shape:
                size = "x".join(map(str, layer.in_shape[:2]))
                raise UserError(
                    f"--conv-channels {show(self.conv_channels)}: {size} pixels come into {layer}, which leaves none; "
                    "expected fewer blocks, smaller kernels or strides, or larger images"
                )
            if (room := layer.grid.room) < grid.LEAST:
                inputs = f"{layer.grid.terms:,} inputs of {layer.grid.input_bits} bits"
                raise UserError(
                    f"{layer.name}: {inputs} to each neuron leave {max(0, room)} bits for its weights, "
                    f"expected at least {grid.LEAST}: fewer inputs, or smaller kernels"
                )

    def _check_geometry(self) -> None:
        """Refuses a geometry that no convolution can have; makes equal values for all convolutions one value."""
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
        if all(pool == "none" for pool in self._per_convolution(self.pool)):
            object.__setattr__(self, "pool_after", False)
        sizes, paddings = self._per_convolution(self.kernel_size), self._per_convolution(self.padding)
        even = any(k % 2 == 0 and padding == "same" for k, padding in zip(sizes, paddings, strict=True))
        check("--kernel-size", self.kernel_size, "odd sizes with --padding same; even ones take valid", not even)

    def _per_convolution(self, value: T | tuple[T, ...]) -> tuple[T, ...]:
        return value if isinstance(value, tuple) else (value,) * len(self.conv_channels)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The blocks in order, with their geometry and their neurons."""
        blocks: list[Layer] = []
        neurons = iter(self._neurons())
        shape: tuple[int, ...] = self.input_shape
        before: Pooling | None = None
        of_each = (self._per_convolution(getattr(self, name)) for name in GEOMETRY)
        for number, (channels, *geometry) in enumerate(zip(self.conv_channels, *of_each, strict=True), 1):
            kernel, stride, padding, pool, size = geometry
            zeros = kernel // 2 if padding == "same" else 0
            pooling = None if pool == "none" else Pooling(pool, size, size)
            name, sizes = f"conv{number}", (kernel, stride, zeros)
            pools = None if self.pool_after else pooling, before
            blocks.append(Layer(name, "conv", shape, channels, *sizes, *pools, self.bias, neurons=next(neurons)))
            before = pooling if self.pool_after else None
            shape = before.shape(blocks[-1].out_shape) if before else blocks[-1].out_shape
        for number, features in enumerate((*self.hidden, self.num_classes), 1):
            name, own = f"fc{number}", next(neurons)
            blocks.append(Layer(name, "linear", shape, features, before=before, bias=self.bias, neurons=own))
            before, shape = None, blocks[-1].out_shape
        blocks[0] = replace(blocks[0], input_bits=self.entering_bits, input_step=1 / self.input_scale)
        return tuple(replace(block, weight_bits=self.weight_bits) for block in blocks)

    def _neurons(self) -> Iterator[Neurons]:
        """The neurons of each layer."""
        kind = self.kind
        learned = tuple(name for name in kind.parameters if getattr(self, f"learn_{name}"))
        channels = (*self.conv_channels, *self.hidden, self.num_classes)
        columns = zip(channels, self.each("reset"), *map(self.each, kind.parameters), strict=True)
        for number, (width, reset, *values) in enumerate(columns, 1):
            configured = dict(zip(kind.parameters, values, strict=True))
            one = Neurons(f"lif{number}", kind, reset, width, tuple(configured.items()), learned, self.per_channel)
            if number == self._depth and self.output == "integrator":
                never = tuple((configured | {"threshold": NEVER}).items())
                left = (tuple(name for name in names if name != "threshold") for names in (learned, self.per_channel))
                one = Neurons(one.name, kind, "none", width, never, *left)
            yield one

    @property
    def narrower(self) -> tuple[str, ...]:
        """A line for each layer whose weights have fewer bits than asked for."""
        kept = ((layer.name, layer.grid.finest + 1) for layer in self.layers)
        return tuple(f"{name} keeps {n} bits, as many as stay exact" for name, n in kept if n < (self.weight_bits or 0))

    @property
    def pixel_scale(self) -> float:
        """What pixel values are divided by."""
        return PIXEL if self.scale is None else float(self.scale)

    @property
    def pixel_bits(self) -> int:
        """Pixels are at most 2 to this power, in multiples of 1 / `pixel_scale`."""
        return 8 if self.input_bits is None else self.input_bits

    @property
    def takes_bytes(self) -> bool:
        """Whether the network's images are bytes, or counts: others are floats, in finer steps."""
        return self.pixel_bits <= 8

    @property
    def brightest(self) -> float:
        """The pixel value that means full brightness: what the encoders and pictures count from."""
        return 255.0 if self.pixel_scale == PIXEL else self.pixel_scale

    @property
    def input_scale(self) -> float:
        """What the bytes that enter the network are divided by: encoded spikes are 0 or 1 already."""
        return self.pixel_scale if self.encoding == "direct" else 1.0

    @property
    def entering_bits(self) -> int:
        """What enters the network is at most 2 to this power, in multiples of 1 / `input_scale`."""
        return self.pixel_bits if self.encoding == "direct" else 0

    @property
    def kind(self) -> Neuron:
        """What the neurons are."""
        return NEURONS[self.neuron]

    def each(self, name: str) -> tuple:
        """The value of a field that has one for all layers or one per layer, for each layer."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * self._depth

    @property
    def resets(self) -> tuple[Reset, ...]:
        """The reset of each layer, of an integrator none."""
        return tuple(layer.neurons.reset for layer in self.layers)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """One threshold per layer."""
        return tuple(layer.neurons["threshold"] for layer in self.layers)

    @property
    def _depth(self) -> int:
        return len(self.conv_channels) + len(self.hidden) + 1


def _check_surrogate(name: object) -> None:
    if name == "auto":
        return
    if name == "SSO":
        raise UserError(
            "--surrogate SSO: it draws random gradients, which no two frameworks can share; "
            f"expected one of {', '.join(get_args(SurrogateName))}"
        )
    check_choice("--surrogate", name, SurrogateName)
