"""What a program that reads NIR declares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Forward = Callable[[Tensor], Any]
"""One time step of a network that keeps its state, on a batch [batch, *input_shape]."""
Loaded = tuple[nn.Module, Forward]
"""The modules of a network, and its step from the initial state on."""


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        name: in front of a file.
        packages: that it needs, as `pip install` calls them, the one with its version first.
        load: (graph, batch, dt or None for its own) to the network in its initial state.
        neurons: the classes of its neurons, imported on demand; one that is part of another isn't among them.
        seen: (module, its output) to spikes and membranes after a step; a neuron that never spikes has None.
        dt: its own time step, seconds; None: it has none that could be chosen.
    """

    name: str
    packages: tuple[str, ...]
    load: Callable[[Any, int, float | None], Loaded]
    neurons: Callable[[], tuple[type[nn.Module], ...]]
    seen: Callable[[Any, Any], tuple[Tensor | None, Tensor]]
    dt: float | None = None
