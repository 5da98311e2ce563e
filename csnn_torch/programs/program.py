"""What the entry of a program that reads and writes NIR says. Imports no framework.

NIR's neuron is (nir 1.0.8, `nir.LIF`; Pedersen et al. 2024, doi:10.1038/s41467-024-52259-9)

    tau dv/dt = (v_leak - v) + r I,      z = 1 where v > v_threshold,      v = v_reset where z = 1

A program discretizes it with a time step dt of its own choice, and differs in the unit of tau, in r, in whether a
membrane at the threshold spikes, and in how it resets (docs/coming-from-nir.md has measurements). A file doesn't state
which program wrote it.
"""

import contextlib
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from csnn_jax.neurons.neuron import Reset
from csnn_torch.programs.cause import Cause

if TYPE_CHECKING:
    from torch import Tensor

Leaky = Callable[[str, "Tensor", "Tensor", "Tensor"], "Tensor"]
"""How a membrane or current leaks and adds its input: (kind of node, tau, state, input) -> the next state."""


@dataclass(frozen=True)
class Rules:
    """How a program's neurons run, and how its files describe them.

    Attributes:
        dt: default time step in seconds, unless it's in the file or a flag; None: its time constants count steps.
        leak: (written tau, dt) -> the fraction of a membrane that's lost in a step, in the program's own precision.
        kinds: the neurons that it writes.
        fixed: whether `dt` is the only possible one.
        by_r: whether a neuron's input is multiplied by r dt / tau, an IF's by r dt. Otherwise r is ignored, see
            `norm_input`.
        includes: whether a membrane at the threshold spikes, too.
        late: whether resets come one step after the spike, as in csnn_jax.
        reset: the reset of its neurons, unless the user overrides it.
        starts: where membranes start: at v_reset, at v_leak or at 0.
        unsaid: what its files don't contain, in words.
        norm_input: whether a LIF's input is multiplied by its leak if r is ignored.
    """

    dt: float | None
    leak: Callable[[np.ndarray, float], np.ndarray]
    kinds: tuple[str, ...]
    fixed: bool = False
    by_r: bool = True
    includes: bool = False
    late: bool = False
    reset: Reset = "zero"
    starts: Literal["v_reset", "v_leak", "0"] = "v_reset"
    unsaid: str = ""
    norm_input: bool = True

    @property
    def step(self) -> float:
        """The time step in seconds; 1 if time constants count steps."""
        return self.dt or 1.0


@dataclass(frozen=True)
class Importer:
    """How to run a file in the program.

    Attributes:
        function: "module:name" of the function that makes a network in its initial state from nir's graph.
        neurons: "module:name" of the classes of its neurons, without those that are part of others.
        seen: (module, its output) -> spikes and membranes after a step; spikes are None for neurons that never spike.
        options: (batch, dt) -> the function's other arguments.
        stateful: whether the network is called with its state and returns it; otherwise its neurons keep it.
    """

    function: str
    neurons: tuple[str, ...]
    seen: Callable[[Any, Any], tuple[Any, Any]]
    options: Callable[[int, float | None], dict[str, Any]] = lambda batch, dt: {}
    stateful: bool = False

    def load(self, graph: Any, batch: int = 1, dt: float | None = None) -> Any:
        """The network, a torch module."""
        with contextlib.redirect_stdout(io.StringIO()):  # snnTorch prints a line for each of its passes
            return resolve_name(self.function)(graph, **self.options(batch, dt))

    def run(self, network: Any, x: Iterable[Any]) -> Iterator[list[tuple[Any, Any]]]:
        """Runs a network from `load`, which changes its state.

        Args:
            network: the network.
            x: its inputs, one per step.

        Yields:
            Each step's `seen` of all layers that ran, in order.
        """
        layers: list[tuple[Any, Any]] = []
        kinds, state = tuple(map(resolve_name, self.neurons)), None
        for module in network.modules():
            if isinstance(module, kinds):
                module.register_forward_hook(lambda module, _, output: layers.append(self.seen(module, output)))
        for frame in x:
            if self.stateful:
                _, state = network(frame, state)
            else:
                network(frame)
            yield layers.copy()
            layers.clear()


class Inexact(ValueError):
    """A program can't compute the same neurons; the one-line message ends with how to train for its file."""


class Layer(NamedTuple):
    """A layer's neurons.

    Attributes:
        name: `lif1`, `lif2`, ...
        values: float32 parameters by name: `beta`, `threshold`, and `alpha` of synaptic neurons.
    """

    name: str
    values: dict[str, np.float32]

    @property
    def included(self) -> np.float32:
        """The lowest membrane that spikes: the threshold for programs whose neurons also spike at the threshold."""
        return np.nextafter(self.values["threshold"], np.float32(math.inf))


class Written(NamedTuple):
    """A node of neurons at rest at 0.

    Attributes:
        kind: `IF`, `LIF` or `CubaLIF`.
        values: its parameters by name, without v_leak and v_reset.
        gain: power of two by which to multiply the weights and biases before it.
    """

    kind: str
    values: dict[str, Any]
    gain: float = 1.0


STEPPED = """\
counts, state = 0, None
for {loop}:
    spikes, state = network(torch.tensor({frame}[None]), state)
    counts = counts + spikes[0]"""
"""The counts of a network (x, state) -> (spikes, state)."""


@dataclass(frozen=True)
class Target:
    """The file that a bundle has for the program, which computes the same spikes from it.

    Attributes:
        file: its name.
        neurons: writes a layer's neurons; raises Inexact.
        usage: how to call it: paragraphs that precede an example in Python, which classifies an image.
        imports: the example's imports besides NumPy and torch.
        setup: what the example does once.
        counts: its lines that compute `counts`. `{frame}` is the input of one step, `{frames}` that of all, and
            `{loop}` what `for` loops over. `export.report.snippets` has the others.
        dt: time step in seconds; None: time constants count steps.
        leaky: the program's arithmetic, for the proof; None: the proof runs the program.
        like_ours: a variant of `leaky` that rounds like our neurons; None: `leaky` does.
        note: how a script in benchmarks/targets ran it.
        sums: whether it lacks average pooling: windows are summed, and weights divided by the number of pixels.
        legacy: whether it uses nir 1.0.4, which has no v_reset, and one value of each parameter for a whole layer.
        by_factors: whether it multiplies the input of a CubaLIF by w_in and its current by r.
        read_as: arguments of `nir_network.read` that give the trained network back, besides NIR's definition.
    """

    file: str
    neurons: Callable[[Layer], Written]
    usage: tuple[str, ...]
    imports: tuple[str, ...]
    setup: str
    counts: str
    dt: float | None
    leaky: Leaky | None = None
    like_ours: Leaky | None = None
    note: str = "unchanged"
    sums: bool = False
    legacy: bool = False
    by_factors: bool = False
    read_as: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        name: its name, as in `--written-by` and PROGRAM:FILE.nir.
        title: its name in texts.
        packages: packages that it needs, as for `pip install`, the program itself first.
        rules: how to read its files.
        importer: how to run a file in it.
        target: what to write for it.
        causes: what only it does differently from our networks.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    rules: Rules
    importer: Importer
    target: Target
    causes: tuple[Cause, ...] = ()


def near(value: np.float32) -> Iterator[np.float32]:
    """Some float32 around a number, nearest first: candidates for a time constant that gives an exact decay."""
    return (value + np.float32(step) * np.spacing(value) for step in sorted(range(-8, 9), key=abs))


def euler(tau: np.ndarray, dt: float) -> np.ndarray:
    """The leak by Euler's method."""
    return dt / tau
