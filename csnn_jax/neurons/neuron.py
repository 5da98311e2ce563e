"""What a neuron model declares, the operations that its step uses, and the neurons of a layer. Imports no framework."""

import functools
import operator
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

Reset = Literal["subtract", "zero", "mute", "clear", "deduct", "none"]
Backend = Literal["snntorch", "event", "nir"]

State = dict[str, Any]
"""A layer's state by name, each an array [batch, ...] of the framework in use; zeros before the first step."""
Values = Mapping[str, Any]
"""A layer's parameters by name: scalars, or arrays that broadcast against its state."""

NEVER = 2.0**100
"""The threshold of an integrator: no membrane reaches it, and no arithmetic with it overflows. Others are below it."""
SMALLEST = 2.0**-100
"""Smallest threshold: keeps subnormals, which some programs flush to 0, from affecting spikes."""
THRESHOLDS = "from 2^-100 to below 2^100"
"""The magnitudes that a threshold may have, in words. Only training makes one negative."""
MEMBRANE = "mem"
"""The state that every neuron has. It's compared with the threshold and recorded."""


def is_threshold(values: Any) -> np.ndarray:
    """Where numbers have the magnitudes of `THRESHOLDS` in float32.

    Args:
        values: numbers, of any shape.
    """
    with np.errstate(over="ignore", under="ignore"):
        sizes = abs(np.asarray(values, np.float32))
    return (sizes >= SMALLEST) & (sizes < NEVER)


class Operations(Protocol):
    """The operations of a framework that a neuron's step uses, besides additions and subtractions."""

    @abstractmethod
    def fired(self, membrane: Any, threshold: Any) -> Any:
        """True where a membrane is above the threshold. No gradient flows through it."""

    @abstractmethod
    def masked(self, fired: Any, x: Any) -> Any:
        """x where a neuron fired, otherwise 0."""

    @abstractmethod
    def decayed(self, factor: Any, x: Any) -> Any:
        """factor * x, rounded before anything is added to it."""


def accumulated(x: Any, currents: Sequence[Any]) -> Any:
    """A decayed state plus the currents of neurons, added one by one, each sum rounded."""
    return functools.reduce(operator.add, currents, x)


@dataclass(frozen=True)
class Parameter:
    """A parameter of each layer's neurons. It has a flag, and a second flag that makes it trainable.

    Attributes:
        default: its value if no flag sets it.
        help: the help text of its flag.
        decays: whether it's a decay per time step, from 0 to 1, and clipped to that range if it's learned. Otherwise
            it's positive.
    """

    default: float
    help: str
    decays: bool = False


def plain_threshold(values: Values, state: State) -> Any:
    """The threshold of neurons that have it as a parameter.

    Args:
        values: the layer's parameters.
        state: its state, which doesn't matter here.
    """
    del state
    return values["threshold"]


@dataclass(frozen=True, eq=False)
class Neuron:
    """A neuron model.

    Attributes:
        name: its value of `--neuron`.
        description: what it is, for reports and exported files.
        states: the names of its states, including `mem`, in the order of graphs and files.
        parameters: its parameters by name, including `threshold`.
        step: (operations, values, state, currents I[t], reset) -> the state after the step, where the membrane is not
            yet reset by its own spike. There's one current, unless `Neurons.separate`.
        equations: the step as text, by reset, one line per state.
        backends: the backends with separate equations that can run it. The scan engine, the calibration, ONNX files and
            C files run `step`.
        resets: the resets that it supports.
        threshold: (values, state) -> the threshold that the membrane is compared with.
    """

    name: str
    description: str
    states: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    step: Callable[[Operations, Values, State, Sequence[Any], Reset], State]
    equations: Mapping[Reset, tuple[str, ...]]
    backends: frozenset[Backend] = frozenset()
    resets: tuple[Reset, ...] = ("subtract", "zero", "none")
    threshold: Callable[[Values, State], Any] = plain_threshold

    def __str__(self) -> str:
        return self.name

    def lacks(self, backend: Backend) -> str | None:
        """Why a backend can't run it, in a few words; None if it can."""
        return None if backend in self.backends else f"{_WORDS[backend]} doesn't support {self.name} neurons"


@dataclass(frozen=True)
class Neurons:
    """The neurons of a block.

    Attributes:
        name: `lif1`, `lif2`, ...: the prefix of its stored values' names in files.
        kind: the neuron model.
        reset: what a spike does to the membrane one step later.
        channels: number of channels of the layer, or of neurons for a linear layer.
        configured: value of each parameter, which is the initial value if the parameter is learned.
        learned: the parameters that are learned.
        per_channel: the parameters with one value per channel instead of one for the layer.
        separate: whether several currents are added to the state one by one, in order, as in snnTorch's RLeaky and
            RSynaptic; otherwise they're added to each other first, which is exact in any order.
    """

    name: str
    kind: Neuron
    reset: Reset
    channels: int
    configured: tuple[tuple[str, float], ...]
    learned: tuple[str, ...] = ()
    per_channel: tuple[str, ...] = ()
    separate: bool = False

    def __getitem__(self, parameter: str) -> float:
        """The configured value of a parameter."""
        return dict(self.configured)[parameter]

    @property
    def stored(self) -> tuple[str, ...]:
        """The parameters that are stored with the weights."""
        return tuple(name for name, _ in self.configured if name in self.learned + self.per_channel)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the `stored` parameters, by name in files (`lif1.beta`, ...): scalars or [channels]."""
        return {f"{self.name}.{name}": (self.channels,) if name in self.per_channel else () for name in self.stored}

    @property
    def initial(self) -> dict[str, np.ndarray]:
        """Initial values of the `stored` parameters, by name in files."""
        pairs = zip(self.shapes.items(), self.stored, strict=True)
        return {name: np.full(shape, self[parameter]) for (name, shape), parameter in pairs}

    def values(self, tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The values after training: `stored` parameters from `tensors` (or arrays), the others as configured.

        They are floats, or float64 [channels]: exact for weights of either type, and rounded where they're used.
        Training can move a decay outside 0 to 1; it's clipped here, as everywhere else.
        """
        values: dict[str, Any] = {}
        for name, configured in self.configured:
            value = np.asarray(tensors[f"{self.name}.{name}"] if name in self.stored else configured, np.float64)
            clipped = np.clip(value, 0.0, 1.0) if self.kind.parameters[name].decays else value
            values[name] = clipped if name in self.per_channel else clipped.item()
        return values


_WORDS = {"snntorch": "snnTorch", "event": "the event engine", "nir": "NIR"}

BETA = Parameter(0.5, "Membrane decay per time step (0 to 1)", decays=True)
THRESHOLD = Parameter(1.0, "Membrane potential above which a neuron spikes")
