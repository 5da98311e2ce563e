"""What a neuron declares, the operations that its step is made of, and the neurons of a layer. Imports no framework."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

Reset = Literal["subtract", "zero", "clear", "none"]
Backend = Literal["snntorch", "event", "nir"]

State = dict[str, Any]
"""A layer's state by name, each an array [batch, ...] of the framework at hand; zeros before the first step."""
Values = Mapping[str, Any]
"""A layer's parameters by name: scalars, or arrays that broadcast against its state."""

MEMBRANE = "mem"
"""The state that every neuron has: compared with the threshold, recorded, and read from."""


class Operations(Protocol):
    """What a framework has for a neuron's step, besides additions and subtractions."""

    def fired(self, membrane: Any, threshold: Any) -> Any:
        """Where a membrane is above the threshold. No gradient flows through it."""
        ...

    def masked(self, fired: Any, x: Any) -> Any:
        """x where a neuron fired, else 0."""
        ...

    def decayed(self, factor: Any, x: Any) -> Any:
        """The product, rounded before anything is added to it."""
        ...


@dataclass(frozen=True)
class Parameter:
    """A number of each layer's neurons. It has a flag, and a second one that has it learned.

    Attributes:
        default: what it is where no flag gives it.
        help: of its flag.
        decays: it's a decay per time step: from 0 to 1, to which a learned one is clipped. Otherwise it's positive.
    """

    default: float
    help: str
    decays: bool = False


def plain_threshold(values: Values, state: State) -> Any:
    """The threshold of neurons whose parameter it is."""
    del state
    return values["threshold"]


@dataclass(frozen=True, eq=False)
class Neuron:
    """A kind of neuron.

    Attributes:
        name: the value of `--neuron`.
        description: what it is, for readers of files.
        states: the names of its state, `mem` among them, in the order of graphs and files.
        parameters: by name; `threshold` is one of them.
        step: (operations, values, state, current I[t], reset) to the state after the step, with the membrane before
            the reset that its own spike causes.
        equations: the step in words, by reset, a line for each state.
        backends: which of those that have equations of their own can run it. The scan engine, the calibration, ONNX
            and C files run `step`.
        resets: what a spike may do to the membrane one step later.
        threshold: (values, state) to what the membrane is compared with.
    """

    name: str
    description: str
    states: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    step: Callable[[Operations, Values, State, Any, Reset], State]
    equations: Mapping[Reset, tuple[str, ...]]
    backends: frozenset[Backend] = frozenset()
    resets: tuple[Reset, ...] = ("subtract", "zero", "none")
    threshold: Callable[[Values, State], Any] = plain_threshold

    def __str__(self) -> str:
        return self.name

    def lacks(self, backend: Backend) -> str | None:
        """Why a backend can't run it, in a few words; None where it can."""
        return None if backend in self.backends else f"{_WORDS[backend]} has no neuron {self.name}"


@dataclass(frozen=True)
class Neurons:
    """The neurons of a block.

    Attributes:
        name: `lif1`, `lif2`, ...: the first part of the names of stored values in files.
        kind: which neurons they are.
        reset: what a spike does to the membrane one step later.
        channels: of the layer; neurons of a linear one.
        configured: value of each of the kind's parameters; what training starts from where it's learned.
        learned: the parameters that are learned.
        per_channel: those that have one value for each channel, not for the layer.
    """

    name: str
    kind: Neuron
    reset: Reset
    channels: int
    configured: tuple[tuple[str, float], ...]
    learned: tuple[str, ...] = ()
    per_channel: tuple[str, ...] = ()

    def __getitem__(self, parameter: str) -> float:
        """The configured value of a parameter."""
        return dict(self.configured)[parameter]

    @property
    def stored(self) -> tuple[str, ...]:
        """The parameters that a network's weights hold."""
        return tuple(name for name, _ in self.configured if name in self.learned + self.per_channel)

    @property
    def initial(self) -> dict[str, np.ndarray]:
        """What training starts from, by the names in files, `lif1.beta`, ...: scalars or [channels], of `stored`."""
        shapes = {name: (self.channels,) if name in self.per_channel else () for name in self.stored}
        return {f"{self.name}.{name}": np.full(shape, self[name]) for name, shape in shapes.items()}

    def values(self, tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The values after training: stored ones from a network's `tensors` (or arrays), the others as configured.

        They are floats, or float64 [channels]: exact for weights of either type, rounded by whoever uses them. Training
        may have moved a decay out of 0 to 1; every user of it clips it, and so does this.
        """
        found: dict[str, Any] = {}
        for name, configured in self.configured:
            value = np.asarray(tensors[f"{self.name}.{name}"] if name in self.stored else configured, np.float64)
            clipped = np.clip(value, 0.0, 1.0) if self.kind.parameters[name].decays else value
            found[name] = clipped if name in self.per_channel else clipped.item()
        return found


_WORDS = {"snntorch": "snnTorch", "event": "the event engine", "nir": "NIR"}

BETA = Parameter(0.5, "Membrane decay per time step (0 to 1)", decays=True)
THRESHOLD = Parameter(1.0, "Membrane above which a neuron spikes")
