"""The network: its layers, its neurons and the number of time steps."""

import re
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any, Literal, get_args

from csnn_jax.config import chain, grid
from csnn_jax.config.build import InexactPool, Misfit, NoOutput, TooManyInputs, graph
from csnn_jax.config.chain import GEOMETRY
from csnn_jax.config.graph import Graph, NeuronNode, Signal
from csnn_jax.config.names import MOST_CLASSES
from csnn_jax.config.nodes import FILE, Nodes, nodes
from csnn_jax.config.operations import Convolution, OneToOne, Padding, Pool, Pooling
from csnn_jax.config.pixels import SPIKES, Pixels
from csnn_jax.errors import UserError
from csnn_jax.neurons import NEURONS, PARAMETERS, NeuronFields
from csnn_jax.neurons.neuron import Neuron, Neurons, Reset
from csnn_jax.options import Described, Rule, as_values, check_rules, flag_of, option, show
from csnn_jax.options.kinds import SWITCH, choice, count, each, number, several, text

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
MOST_LAYERS, MOST_STEPS = 1000, 2**24
"""Limits far above those of any real network; a config.json from someone else can state any sizes, and layers are made
from them before memory is checked."""
WEIGHT_BITS = count(grid.FEWEST, grid.WIDEST)
"""The bits that a weight can have, including the sign."""
_RECURRENT = text(
    "fc1, fc2, ..., or fc1:one, fc2:one, ...",
    lambda name: bool(re.fullmatch("fc[1-9][0-9]{0,3}(:one)?", name)),
    "LAYER",
)
_RESIDUAL = text("conv2, conv3, ...", lambda name: bool(re.fullmatch("conv[1-9][0-9]{0,3}", name)), "BLOCK")
_data, _network, _neuron = (partial(option, group=name) for name in ("data", "network", "neuron"))
_HINTS: dict[type[Misfit], str] = {
    InexactPool: "expected sides of 2, 4 or 8",
    NoOutput: "expected larger images, or smaller or fewer kernels, strides and pools",
    TooManyInputs: "expected fewer: smaller kernels or images, larger strides or pools, fewer channels or neurons",
    Misfit: "expected images that the block's stride and pool divide",
}
_STACK = (
    *("input_shape", "conv_channels", *GEOMETRY, "pool_after", "residual", "bias", "hidden", "recurrent", "network"),
    *("encoding", "neuron", "output"),
)
_NEURONS = ("neuron", "reset", *PARAMETERS, *(f"learn_{name}" for name in PARAMETERS), "per_channel", "output")
IN_NODES = ("conv_channels", *GEOMETRY, "pool_after", "residual", "bias", "hidden", "recurrent", *_NEURONS)
"""Fields that describe a chain of blocks, and don't apply to a network of `nodes`."""
_SHAPE = "three positive whole numbers: height, width, channels"
_SCALE = "that is a power of two from 2^-16 to 2^20, such as 256"


@dataclass(frozen=True)
class ModelConfig(NeuronFields, Described):
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
    recurrent: tuple[str, ...] = _network((), several(_RECURRENT, least=1), """
        Linear layers whose neurons also get their own spikes of the step before, through weights from all neurons of
        the layer to all: fc1 is the first; or through one weight for each neuron: fc1:one.""")
    residual: tuple[str, ...] = _network((), several(_RESIDUAL, least=1), """
        Blocks of convolutions that add their input spikes to their output spikes, after the block's own pool; or, if
        the channels or the stride differ, to the current of their neurons, through a 1x1 convolution.""")
    network: Nodes | None = _network(None, FILE, """
        JSON or NIR file with the network's nodes, instead of the flags for blocks and neurons; a run's config.json
        contains them.""")
    weight_bits: int | None = _network(None, WEIGHT_BITS, """
        Train and run the network with weights of this many bits, 2 to 8 including the sign; default: as many as stay
        exact.""")
    reset: Reset | tuple[Reset, ...] = _neuron("subtract", each(choice(Reset), "layer"), """
        What a spike does to the membrane one step later: subtract the threshold, set it to zero, or none. Synaptic
        neurons also have clear, which sets it to zero before the input is added; leaky ones have mute, which does so
        after it's added, and both deduct, which subtracts before the leak. One value for all layers, or one per
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
        if self.network is not None:
            self._set("network", _nodes(self.network))
        self.check_values()
        for name, parameter in self.kind.parameters.items():
            if getattr(self, name) is None:
                self._set(name, parameter.default)
        if self.network is None:
            self._normalize()
        else:
            self._adopt()
        if self.output == "integrator":
            self._set("readout", "membrane")
        _ = self.graph  # raises UserError if a node doesn't fit

    def _normalize(self) -> None:
        """Checks the options of a chain, and writes equal ones in the same way."""
        check_rules(self, _RULES, self)
        self._set("per_channel", tuple(name for name in self.kind.parameters if name in self.per_channel))
        for name in ("reset", *GEOMETRY):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(set(value)) == 1:
                self._set(name, value[0])
        if all(pool == "none" for pool in self.each_convolution("pool")):
            self._set("pool_after", False)

    def _adopt(self) -> None:
        """Sets what a network of nodes determines. Options of chains get their defaults, and must have them."""
        check_rules(self, [*map(_of_chain, IN_NODES), _SLOPE], self)
        last = self.graph.neurons[-1]
        if last.shape[:-1] or last.shape[0] < 2:
            raise UserError(f"--network: {last.name} has the shape {last.shape}, expected (classes,) with at least 2")
        adopted = {"num_classes": last.shape[0], "output": "spiking" if last in self.graph.spiking else "integrator"}
        for name, value in adopted.items():
            if getattr(self, name) not in (getattr(ModelConfig, name), value):
                raise UserError(f"{flag_of(name)} {getattr(self, name)}: expected {value}, as --network has")
            self._set(name, value)
        for layer in self.graph.neurons[:-1]:
            if layer not in self.graph.spiking:
                raise UserError(f"--network: {layer.name} is an integrator, expected one only at the end")
        for node in self.graph:
            for edge in node.inputs:
                source = self.graph[edge.source]
                if isinstance(source, NeuronNode) and source not in self.graph.spiking:
                    raise UserError(f"--network: {node.name} reads {edge}, an integrator, which never spikes")
                if edge.delay > self.time_steps:
                    steps = f"a delay of at most the window's {self.time_steps} steps (--time-steps)"
                    raise UserError(f"--network: {node.name} reads {edge}, expected {steps}")

    def described(self) -> dict[str, Any]:
        """Its JSON, without the options that don't apply."""
        left = ("network",) if self.network is None else IN_NODES
        return {one.name: as_values(getattr(self, one.name)) for one in fields(self) if one.name not in left}

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @cached_property
    def graph(self) -> Graph:
        """The network as a graph: its nodes, or convolutions with pools and neurons, then linear layers with neurons.

        Raises:
            UserError: a node has no output, or too many inputs for exact sums.
        """
        operations = self.network.operations if self.network else list(chain.operations(self))
        entering = Signal(self.entering.bits, 1 / self.entering.scale)
        try:
            return graph(self.input_shape, entering, operations, self.weight_bits)
        except Misfit as error:
            if self.network:
                sized = isinstance(error, NoOutput | TooManyInputs) or isinstance(error.node.operation, OneToOne)
                size = f"; images are {'x'.join(map(str, self.input_shape))}, see --input-shape"
                raise UserError(f"--network: {error}{size if sized else ''}") from None
            name = _field(self, error)
            raise UserError(f"{flag_of(name)} {show(getattr(self, name))}: {error}; {_HINTS[type(error)]}") from None

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
        """The neuron model of a chain."""
        return NEURONS[self.neuron]

    @property
    def kinds(self) -> tuple[Neuron, ...]:
        """The neuron models in use."""
        return tuple(dict.fromkeys(node.operation.kind for node in self.graph.neurons))

    def each(self, name: str) -> tuple:
        """A field's value for each layer of a chain; the field holds one value for all layers or one per layer.

        Args:
            name: the field.
        """
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * self.depth

    def each_convolution(self, name: str) -> tuple:
        """A field's value for each convolution; the field holds one value for all or one per convolution.

        Args:
            name: the field.
        """
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * len(self.conv_channels)

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
        """Number of layers of neurons in a chain."""
        return len(self.conv_channels) + len(self.hidden) + 1


def _field(config: ModelConfig, error: Misfit) -> str:
    """The field that decides about a node that doesn't fit."""
    name, operation = error.node.name, error.node.operation
    if isinstance(operation, Neurons):
        return "residual"
    if isinstance(operation, Pooling):
        return "pool" if config.pool_size == type(config).pool_size else "pool_size"
    if isinstance(operation, Convolution):
        return "kernel_size" if name == "conv1" or isinstance(error, NoOutput) else "conv_channels"
    if name != "fc1":
        return "recurrent" if name.startswith("rec") else "hidden"
    return "conv_channels" if config.conv_channels else "input_shape"


def is_original(model: ModelConfig) -> bool:
    """Returns whether this is the default network, which snnTorch's recipe was made for."""
    stack = all(getattr(model, name) == getattr(ModelConfig, name) for name in _STACK)
    return stack and model.reset == ModelConfig.reset and not is_delicate(model)


def is_delicate(model: ModelConfig) -> bool:
    """Returns whether neurons have no reset, a decay other than the default, or learned parameters."""
    neurons = [node.operation for node in model.graph.neurons]
    decays = [(one, name, parameter) for one in neurons for name, parameter in one.kind.parameters.items()]
    usual = all(one[name] == parameter.default for one, name, parameter in decays if parameter.decays)
    others = any(one.learned or one.kind.name != ModelConfig.neuron for one in neurons)
    return "none" in _resets(model) or others or not usual


def _resets(model: ModelConfig) -> list[Reset]:
    """The resets of neurons that spike."""
    return [node.operation.reset for node in model.graph.spiking]


def surrogate_of(model: ModelConfig) -> SurrogateName:
    """The surrogate that a model uses."""
    if model.surrogate != "auto":
        return model.surrogate
    return "fast_sigmoid" if is_original(model) else "atan"


def slope_of(model: ModelConfig) -> float | None:
    """The slope of a model's surrogate: 1 if `auto` chose it for neurons without a reset; None: snnTorch's."""
    chosen = model.surrogate == "auto" and model.slope is None and "none" in _resets(model)
    return 1.0 if chosen else model.slope


def _each_convolution(name: str) -> Rule:
    """The rule that an option has one value, or one per convolution."""

    def expected(model: ModelConfig) -> str:
        depth = len(model.conv_channels)
        return f"one value, or {depth} (one per convolution)" if depth > 1 else "one value"

    def holds(model: ModelConfig) -> bool:
        value, depth = getattr(model, name), len(model.conv_channels)
        return not isinstance(value, tuple) or (depth > 0 and len(value) == depth)

    return Rule(name, expected, holds)


def _are_numbered(numbers: list[str], least: int, most: int) -> bool:
    """Whether numbers differ and are in a range."""
    return len(set(numbers)) == len(numbers) and all(least <= int(number) <= most for number in numbers)


def _blocks(convolutions: int) -> str:
    """What `residual` may contain."""
    last = f"conv{convolutions}"
    if convolutions < 2:
        return "two or more convolutions, as in --conv-channels 32 64"
    return f"different blocks from conv2 to {last}" if convolutions > 2 else last


def _keeps_sizes(model: ModelConfig) -> bool:
    sizes, paddings = map(model.each_convolution, ("kernel_size", "padding"))
    blocks = [int(name.removeprefix("conv")) - 1 for name in model.residual]
    return all(paddings[block] == "same" or sizes[block] == 1 for block in blocks)


def _is_recurrent(model: ModelConfig, layer: str) -> bool:
    return any(name.partition(":")[0] == layer for name in model.recurrent)


def _nodes(values: Any) -> Nodes:
    try:
        return nodes(values)
    except UserError as error:
        raise UserError(f"--network: {error}") from None


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
    sizes, paddings = map(model.each_convolution, ("kernel_size", "padding"))
    return all(size % 2 == 1 for size, padding in zip(sizes, paddings, strict=True) if padding == "same")


def _of_chain(name: str) -> Rule:
    """The rule that an option of chains isn't set for a network of nodes."""
    default = getattr(ModelConfig, name)
    neurons = NEURONS[ModelConfig.neuron].parameters
    unset = (default, neurons[name].default if name in neurons else default)
    free = ("output",)  # follows from the last node
    return Rule(
        name,
        "no --network, whose nodes determine it",
        lambda model: name in free or getattr(model, name) in unset,
    )


_SLOPE = Rule(
    "slope",
    lambda model: f"no value; {model.surrogate} has no slope",
    lambda model: model.slope is None or model.surrogate not in SLOPELESS,
)
_RULES = (
    Rule("hidden", f"at most {MOST_LAYERS:,} layers", lambda model: model.depth <= MOST_LAYERS or not model.hidden),
    Rule("conv_channels", f"at most {MOST_LAYERS:,} layers", lambda model: model.depth <= MOST_LAYERS),
    *map(_each_convolution, GEOMETRY),
    Rule("kernel_size", "odd sizes with --padding same; even ones need valid", _has_odd_kernels),
    Rule(
        "residual",
        lambda model: _blocks(len(model.conv_channels)),
        lambda model: _are_numbered(
            [name.removeprefix("conv") for name in model.residual], 2, len(model.conv_channels)
        ),
    ),
    Rule("residual", "--padding same for these blocks, which keeps the size", _keeps_sizes),
    Rule(
        "recurrent",
        lambda model: f"different layers from fc1 to fc{len(model.hidden) + 1}",
        lambda model: _are_numbered(
            [name.partition(":")[0].removeprefix("fc") for name in model.recurrent], 1, len(model.hidden) + 1
        ),
    ),
    Rule(
        "recurrent",
        lambda model: f"no fc{len(model.hidden) + 1} with --output integrator, which never spikes",
        lambda model: model.output == "spiking" or not _is_recurrent(model, f"fc{len(model.hidden) + 1}"),
    ),
    _SLOPE,
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
