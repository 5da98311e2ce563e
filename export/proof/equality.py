"""Compares exported networks with the trained one: whole windows must have torch's spikes and membranes.

Weights and inputs lie on grids on which all sums are exact (docs/design.md, section 2), so the order of additions
changes no bit. `csnn_jax.runs.equality` compares values without tolerances.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch

from csnn_jax.runs.equality import differ
from export.proof import Figures
from export.proof.runners import Recording, Runner, TorchRunner, summed, window
from export.reference import Step

KINDS = ("spikes", "membranes", "predictions")
"""The compared values, by the names of their counts in a `Comparison`."""
PIECE = 32
"""Number of images to run at a time; 32 take half a gigabyte with the default network."""


@dataclass
class Comparison:
    """Counts how many of a program's values were compared with torch's, and how many differ.

    Attributes:
        images: number of images.
        time_steps: T.
        spikes, different_spikes: spikes of the layers that the program returns.
        membranes, different_membranes: membranes and other states of these layers; 0 if it returns none.
        predictions, different_predictions: classes, one per image.
    """

    images: int = 0
    time_steps: int = 0
    spikes: int = 0
    different_spikes: int = 0
    membranes: int = 0
    different_membranes: int = 0
    predictions: int = 0
    different_predictions: int = 0

    def add(
        self,
        expected: "TorchWindow",
        output: np.ndarray,
        spikes: Sequence[np.ndarray] = (),
        states: Sequence[np.ndarray] = (),
    ) -> None:
        """Compares a window.

        Args:
            expected: torch's window.
            output: the other program's output spikes or membranes [time, batch, classes].
            spikes: spikes of every layer [time, batch, ...]; empty: the program doesn't return them.
            states: states of every layer, likewise.

        Raises:
            ValueError: the shapes differ from torch's.
        """
        self.time_steps, batch = output.shape[:2]
        self.images += batch
        torch = expected.torch
        read = [(torch.output, output)]  # the spikes of all layers include it
        for ours, theirs in zip(expected.spikes, spikes, strict=True) if spikes else read * expected.counts:
            self.spikes += ours.size
            self.different_spikes += differ(ours, theirs)
        for ours, theirs in [*zip(torch.states if states else (), states, strict=True), *read * (not expected.counts)]:
            self.membranes += ours.size
            self.different_membranes += differ(ours, theirs)
        self.predictions += batch
        self.different_predictions += differ(*(summed(one).argmax(1) for one in (torch.output, output)))

    def figures(self) -> Figures:
        return asdict(self)


def problems(who: str, found: Figures) -> list[str]:
    """Differences in the figures of a `Comparison`, one line for each kind; empty if the program `who` is equal."""
    return [
        f"in {who}, {found[f'different_{kind}']:,} of {found[kind]:,} {kind} differ from torch's"
        for kind in KINDS
        if found[f"different_{kind}"]
    ]


def fired(network: Step, whole: Recording) -> list[np.ndarray]:
    """The spikes of every layer in a window, bool [time, batch, ...], computed from its states.

    With spike readout, the last layer's are the output itself.
    """
    found = [layer.numpy() > 0 for layer in network.fire(tuple(map(torch.from_numpy, whole.states)))]
    return [*found[:-1], whole.output > 0] if network.config.readout == "spikes" else found


class TorchWindow(NamedTuple):
    """Images and torch's results for them, with which other programs are compared.

    Attributes:
        x: the network's input, see `reference.inputs`.
        torch: torch's outputs and states.
        spikes: torch's spikes of every layer, see `fired`.
        counts: whether the output is spikes, so scores are spike counts.
    """

    x: torch.Tensor
    torch: Recording
    spikes: list[np.ndarray]
    counts: bool


def windows(
    network: Step, inputs: Iterable[torch.Tensor], size: int = PIECE, time_steps: int | None = None
) -> Iterator[TorchWindow]:
    """Runs the reference.

    Args:
        network: the reference.
        inputs: batches of its input, see `reference.inputs`.
        size: number of images to run at a time.
        time_steps: length of the window if the inputs are single images; None: the configuration's.
    """
    counts = network.config.readout == "spikes"
    for batch in inputs:
        for x in batch.split(size, batch.ndim - 4):
            whole = window(TorchRunner(network), network.config, x, time_steps)
            yield TorchWindow(x, whole, fired(network, whole), counts)


def equality(network: Step, other: Runner, expected: Iterable[TorchWindow]) -> Figures:
    """Compares a runner's whole windows with torch's: the figures of a `Comparison`.

    Args:
        network: the reference.
        other: the runner to compare, which continues from its own states.
        expected: windows of the reference.
    """
    found = Comparison()
    for one in expected:
        whole = window(other, network.config, one.x, len(one.torch.output))
        found.add(one, whole.output, fired(network, whole), whole.states)
    return found.figures()
