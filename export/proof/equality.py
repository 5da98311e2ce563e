"""Whether an exported network is the trained one: whole windows of every program have torch's spikes and membranes.

Weights and inputs lie on grids on which no sum rounds (docs/design.md, section 2), so the order in which a program adds
changes no bit. Values are compared by `csnn_jax.runs.equality`, without tolerances.
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
"""What is compared, by the names of its counts in a `Comparison`."""
PIECE = 32
"""Images that are run at a time; 32 of the default network take half a gigabyte."""


@dataclass
class Comparison:
    """How much of a program's windows was compared with torch's, and how much of it differs.

    Attributes:
        images: how many.
        time_steps: T.
        spikes, different_spikes: those of the layers that the program shows.
        membranes, different_membranes: likewise, with the other states of neurons that have some; 0 where it shows
            none.
        predictions, different_predictions: classes, one an image.
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
            expected: torch's.
            output: the other program's output spikes or membranes [time, batch, classes].
            spikes: of every layer [time, batch, ...]; none: it doesn't show them.
            states: likewise.

        Raises:
            ValueError: they are of other shapes than torch's.
        """
        self.time_steps, batch = output.shape[:2]
        self.images += batch
        torch = expected.torch
        read = [(torch.output, output)]  # which is among the spikes of all layers
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
    """What differs by the figures of a `Comparison`, one line for each kind; none: the program `who` is equal."""
    return [
        f"in {who}, {found[f'different_{kind}']:,} of {found[kind]:,} {kind} differ from torch's"
        for kind in KINDS
        if found[f"different_{kind}"]
    ]


def fired(network: Step, whole: Recording) -> list[np.ndarray]:
    """The spikes of every layer of a window, bool [time, batch, ...]: those that its states cause.

    Of the last layer, they are the output itself where the class is read from it.
    """
    found = [layer.numpy() > 0 for layer in network.fire(tuple(map(torch.from_numpy, whole.states)))]
    return [*found[:-1], whole.output > 0] if network.config.readout == "spikes" else found


class TorchWindow(NamedTuple):
    """Images, and what torch made of them: what other programs are compared with.

    Attributes:
        x: what the network is fed, see `reference.inputs`.
        torch: torch's outputs and states.
        spikes: torch's spikes of every layer, see `fired`.
        counts: whether the output is spikes, of which scores are counts.
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
        inputs: batches of what it is fed, see `reference.inputs`.
        size: images run at a time.
        time_steps: length of the window where the inputs are single images; None: the configuration's.
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
        other: what is to be proven equal, which goes on from its own states.
        expected: windows of the reference.
    """
    found = Comparison()
    for one in expected:
        whole = window(other, network.config, one.x, len(one.torch.output))
        found.add(one, whole.output, fired(network, whole), whole.states)
    return found.figures()
