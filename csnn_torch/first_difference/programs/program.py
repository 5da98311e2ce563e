"""The interface of a program that reads NIR."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Forward = Callable[[Tensor], Any]
"""One time step of a network that keeps its state, on a batch [batch, *input_shape]."""
Loaded = tuple[nn.Module, Forward]
"""The modules of a network, and its step, starting from the initial state."""


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        name: its name, as in PROGRAM:FILE.nir.
        packages: packages that it needs, as for `pip install`, the program itself first.
        load: (graph, batch, dt or None for its own) -> the network in its initial state.
        neurons: returns the classes of its neurons, imported on demand, without those that are part of others.
        seen: (module, its output) -> spikes and membranes after a step; spikes are None for neurons that never spike.
        dt: its default time step, seconds; None: the time step can't be chosen.
    """

    name: str
    packages: tuple[str, ...]
    load: Callable[[Any, int, float | None], Loaded]
    neurons: Callable[[], tuple[type[nn.Module], ...]]
    seen: Callable[[Any, Any], tuple[Tensor | None, Tensor]]
    dt: float | None = None
