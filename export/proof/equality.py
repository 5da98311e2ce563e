"""Whether an exported network is the trained one: figures that anyone can compute anew.

Two float32 programs that add in another order differ in the last bits, and where a membrane lies within such a
difference of its threshold, one spikes and the other does not. So equality is proven in two ways. Step by step, from
torch's membranes: every membrane within LIMIT (1 + |U|) of torch's, and no spike flipped except where torch's own
membrane is that near to the threshold. Free-running: every spike and every count the same, or else the first difference
of an image is such a flip.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from export.proof import Figures
from export.proof.runners import Recording, Runner, TorchRunner, window, zeros
from export.reference import Step, frames

LIMIT = 1e-5
"""Allowed |difference| of a membrane U, relative to 1 + |U|."""
PIECE = 32
"""Images that are run at a time; 32 of the default network take half a gigabyte."""
LISTED = 100
"""Flips listed one by one; all are counted."""


@dataclass
class Stepwise:
    """Figures of steps that each start from torch's membranes."""

    thresholds: list[float]
    images: int = 0
    membranes: int = 0
    beyond_limit: int = 0
    flipped: int = 0
    unexplained: int = 0
    skipped: int = 0
    flips: list[Figures] = field(default_factory=list)
    largest: list[float] = field(init=False)

    def __post_init__(self):
        self.largest = [0.0] * len(self.thresholds)

    def add(self, time: int, first: int, mine: Recording, spikes: np.ndarray, membranes: list[np.ndarray]) -> None:
        """Compares step `time` of torch's window with the step that another runner made from the same membranes.

        A flip changes the input of the later layers of its image within the same step: their membranes are skipped,
        and counted.
        """
        same = np.ones(len(spikes), bool)
        self.images += len(same) if time == 0 else 0
        for number, (theta, kept, theirs) in enumerate(zip(self.thresholds, mine.membranes, membranes, strict=True), 1):
            ours, theirs = kept[time].reshape(len(same), -1), theirs.reshape(len(same), -1)
            spiked = spikes > 0 if number == len(self.thresholds) else theirs > theta
            self.skipped += int((~same).sum()) * ours.shape[1]
            difference = np.nan_to_num(np.abs(theirs - ours) / (1 + np.abs(ours)), nan=np.inf)[same]
            self.membranes += difference.size
            self.largest[number - 1] = max(self.largest[number - 1], float(difference.max(initial=0)))
            self.beyond_limit += int((difference > LIMIT).sum())
            flipped = (spiked != (ours > theta)) & same[:, None]
            self._flips(flipped, ours, theta, {"layer": number, "step": time}, first)
            same &= ~flipped.any(1)

    def _flips(self, flipped: np.ndarray, ours: np.ndarray, theta: float, place: Figures, first: int) -> None:
        for image, neuron in np.argwhere(flipped):
            flip = _flip(place | {"image": int(image) + first, "neuron": int(neuron)}, ours[image, neuron], theta)
            self.flipped += 1
            self.unexplained += not flip["explained"]
            if len(self.flips) < LISTED:
                self.flips.append(flip)

    def figures(self) -> Figures:
        return {
            "images": self.images,
            "membranes": self.membranes,
            "max_difference": max(self.largest),
            "limit": LIMIT,
            "beyond_limit": self.beyond_limit,
            "flipped_spikes": self.flipped,
            "unexplained_flips": self.unexplained,
            "membranes_skipped_after_a_flip": self.skipped,
            "flips": self.flips,
            "max_difference_by_layer": self.largest,
            "ok": self.beyond_limit == 0 and self.unexplained == 0,
        }


@dataclass
class FreeRunning:
    """Figures of whole windows, each runner going on from its own membranes."""

    thresholds: list[float]
    output_spikes: int = 0
    hidden_spikes: int = 0
    counts: int = 0
    different_counts: int = 0
    images: int = 0
    different_images: int = 0
    unexplained: int = 0
    first_flips: list[Figures] = field(default_factory=list)
    different: list[int] = field(init=False)

    def __post_init__(self):
        self.different = [0] * len(self.thresholds)

    def add(self, first: int, mine: Recording, theirs: Sequence[np.ndarray]) -> None:
        """Compares a window with the spikes that another program gave for the same images.

        Args:
            first: number of the first image.
            mine: torch's window.
            theirs: the other's spikes, bool [time, batch, ...] for every layer; see `fired`.
        """
        ours = fired(mine, self.thresholds)
        differs = [a != b for a, b in zip(ours, theirs, strict=True)]
        self.output_spikes += differs[-1].size
        self.hidden_spikes += sum(layer.size for layer in differs[:-1])
        self.different = [so_far + int(layer.sum()) for so_far, layer in zip(self.different, differs, strict=True)]
        other_counts = ours[-1].sum(0) != theirs[-1].sum(0)
        self.counts += other_counts.size
        self.different_counts += int(other_counts.sum())
        self.images += differs[-1].shape[1]
        by_image = np.stack([layer.reshape(*layer.shape[:2], -1).any(2) for layer in differs])  # [layer, time, image]
        for image in np.flatnonzero(by_image.any((0, 1))):
            time, layer = (int(i) for i in np.argwhere(by_image[:, :, image].T)[0])
            neuron = int(np.flatnonzero(differs[layer][time, image])[0])
            place = {"layer": layer + 1, "step": time, "image": int(image) + first, "neuron": neuron}
            flip = _flip(place, mine.membranes[layer][time, image].ravel()[neuron], self.thresholds[layer])
            self.different_images += 1
            self.unexplained += not flip["explained"]
            if len(self.first_flips) < LISTED:
                self.first_flips.append(flip)

    def figures(self) -> Figures:
        return {
            "images": self.images,
            "output_spikes": self.output_spikes,
            "different_output_spikes": self.different[-1],
            "hidden_spikes": self.hidden_spikes,
            "different_hidden_spikes": sum(self.different[:-1]),
            "counts": self.counts,
            "different_counts": self.different_counts,
            "images_that_differ": self.different_images,
            "first_flips": self.first_flips,
            "unexplained_first_flips": self.unexplained,
            "different_spikes_by_layer": self.different,
            "ok": self.unexplained == 0,
        }


def fired(whole: Recording, thresholds: Sequence[float]) -> list[np.ndarray]:
    """The spikes of every layer of a window, bool [time, batch, ...]."""
    hidden = [u > theta for u, theta in zip(whole.membranes[:-1], thresholds[:-1], strict=True)]
    return [*hidden, whole.spikes > 0]


def _flip(place: Figures, membrane: np.floating, theta: float) -> Figures:
    distance = abs(float(membrane) - theta)
    return place | {"distance": distance, "explained": distance <= LIMIT * (1 + abs(float(membrane)))}


def thresholds(network: Step) -> list[float]:
    """The threshold of every layer, as float32 holds it."""
    return [neurons.threshold.item() for neurons in network.neurons]


def pieces(inputs: Iterable[torch.Tensor], size: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Cuts batches of inputs (see `reference.inputs`) to at most `size` images: (number of its first image, inputs)."""
    first = 0
    for batch in inputs:
        axis = batch.ndim - 4
        for x in batch.split(size, axis):
            yield first, x
            first += x.shape[axis]


class TorchWindow(NamedTuple):
    """Images, and what torch made of them: what other programs are compared with.

    Attributes:
        first: number of the first image.
        x: what the network is fed, see `reference.inputs`.
        torch: torch's spikes and membranes.
    """

    first: int
    x: torch.Tensor
    torch: Recording


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
    for first, x in pieces(inputs, size):
        yield TorchWindow(first, x, window(TorchRunner(network), network.config, x, time_steps))


def equality(network: Step, other: Runner, expected: Iterable[TorchWindow]) -> Figures:
    """Compares a runner with torch, step by step and free-running.

    Args:
        network: the reference.
        other: what is to be proven equal.
        expected: windows of the reference.

    Returns:
        {"time_steps", "stepwise": see `Stepwise.figures`, "free_running": see `FreeRunning.figures`, "ok"}.
    """
    stepwise, free = Stepwise(thresholds(network)), FreeRunning(thresholds(network))
    steps = 0
    for first, x, mine in expected:
        steps = len(mine.spikes)
        before = zeros(network.config, mine.spikes.shape[1])
        for time, frame in enumerate(frames(x, steps)):
            after, spikes = other.step(before, frame.numpy())
            stepwise.add(time, first, mine, spikes, after)
            before = [layer[time] for layer in mine.membranes]
        free.add(first, mine, fired(window(other, network.config, x, steps), free.thresholds))
    parts = {"stepwise": stepwise.figures(), "free_running": free.figures()}
    return {"time_steps": steps, **parts, "ok": all(part["ok"] for part in parts.values())}


def problems(who: str, found: Figures) -> list[str]:
    """What is wrong by the figures of `equality`, one line each; none: the program `who` is equal."""
    stepwise, lines = found["stepwise"], free_running_problems(who, found["free_running"])
    if stepwise["beyond_limit"]:
        lines.append(
            f"in {who}, {stepwise['beyond_limit']:,} membranes differ from torch's by more than {LIMIT:g} "
            f"(1 + |U|), the largest by {stepwise['max_difference']:.3g} (1 + |U|)"
        )
    if stepwise["unexplained_flips"]:
        lines.append(f"in {who}, {stepwise['unexplained_flips']:,} spikes differ from torch's away from a threshold")
    return lines


def free_running_problems(who: str, found: Figures) -> list[str]:
    """What is wrong by the figures of whole windows."""
    if found["ok"]:
        return []
    return [f"in {who}, the spikes of {found['images_that_differ']:,} images differ from torch's"]
