"""The graph that flags describe: convolutions with pools and neurons, then linear layers with neurons."""

from collections.abc import Iterator
from typing import Any, TypeVar

from csnn_jax.config.graph import (
    IMAGE,
    Convolution,
    Flatten,
    Graph,
    Linear,
    NoOutput,
    Operation,
    Pooling,
    Signal,
    TooManyInputs,
    graph,
)
from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import NEVER, Neurons
from csnn_jax.options import flag_of, show

T = TypeVar("T")
GEOMETRY = ("kernel_size", "stride", "padding", "pool", "pool_size")
"""Fields with one value for all convolutions or one per convolution."""
_HINTS = {
    NoOutput: "expected larger images, or smaller or fewer kernels, strides and pools",
    TooManyInputs: "expected fewer: smaller kernels or images, larger strides or pools, fewer channels or neurons",
}


def chain(config: Any) -> Graph:
    """The graph of a `ModelConfig`.

    Raises:
        UserError: a node has no output, or too many inputs for exact sums.
    """
    values = Signal(config.entering.bits, 1 / config.entering.scale)
    try:
        return graph(config.input_shape, values, _nodes(config), config.weight_bits)
    except (NoOutput, TooManyInputs) as error:
        name = _field(config, error)
        raise UserError(f"{flag_of(name)} {show(getattr(config, name))}: {error}; {_HINTS[type(error)]}") from None


def _field(config: Any, error: NoOutput | TooManyInputs) -> str:
    """The field that decides about a node that doesn't fit."""
    name, operation = error.node.name, error.node.operation
    if isinstance(operation, Pooling):
        return "pool" if config.pool_size == type(config).pool_size else "pool_size"
    if isinstance(operation, Convolution):
        return "kernel_size" if name == "conv1" or isinstance(error, NoOutput) else "conv_channels"
    if name != "fc1":
        return "hidden"
    return "conv_channels" if config.conv_channels else "input_shape"


def per_convolution(config: Any, value: T | tuple[T, ...]) -> tuple[T, ...]:
    """A field's value for each convolution."""
    return value if isinstance(value, tuple) else (value,) * len(config.conv_channels)


def _nodes(config: Any) -> Iterator[tuple[str, Operation, str]]:
    """The nodes in order: (name, operation, name of its input)."""
    last = IMAGE
    for name, operation in _operations(config):
        yield name, operation, last
        last = name


def _operations(config: Any) -> Iterator[tuple[str, Operation]]:
    neurons = _neurons(config)
    columns = (per_convolution(config, getattr(config, name)) for name in GEOMETRY)
    for number, row in enumerate(zip(config.conv_channels, *columns, strict=True), 1):
        channels, kernel, stride, padding, kind, size = row
        zeros = kernel // 2 if padding == "same" else 0
        yield f"conv{number}", Convolution(channels, kernel, stride, zeros, config.bias)
        after: list[tuple[str, Operation]] = [] if kind == "none" else [(f"pool{number}", Pooling(kind, size, size))]
        firing = next(neurons)
        after.insert(0 if config.pool_after else len(after), (firing.name, firing))
        yield from after
    for number, firing in enumerate(neurons, 1):
        if number == 1:
            yield f"flatten{len(config.conv_channels) + 1}", Flatten()
        yield f"fc{number}", Linear(firing.channels, config.bias)
        yield firing.name, firing


def _neurons(config: Any) -> Iterator[Neurons]:
    """The neurons of each layer."""
    kind = config.kind
    learned = tuple(name for name in kind.parameters if getattr(config, f"learn_{name}"))
    channels = (*config.conv_channels, *config.hidden, config.num_classes)
    columns = zip(channels, config.each("reset"), *map(config.each, kind.parameters), strict=True)
    for number, (width, reset, *values) in enumerate(columns, 1):
        configured = dict(zip(kind.parameters, values, strict=True))
        one = Neurons(f"lif{number}", kind, reset, width, tuple(configured.items()), learned, config.per_channel)
        if number == len(channels) and config.output == "integrator":
            never = tuple((configured | {"threshold": NEVER}).items())
            left = (tuple(name for name in names if name != "threshold") for names in (learned, config.per_channel))
            one = Neurons(one.name, kind, "none", width, never, *left)
        yield one
