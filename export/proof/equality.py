"""Compares exported networks with the trained one: whole windows must have torch's spikes and membranes.

Weights and inputs lie on grids on which all sums are exact (docs/design.md, section 2), so the order of additions
changes no bit. `csnn_jax.runs.equality` compares values without tolerances.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_jax.data import Split
from csnn_jax.runs.equality import Comparison
from csnn_jax.runs.metrics import BATCH
from csnn_jax.window import Trace
from export import reference
from export.network import Network
from export.proof.runners import Runner, torch_runner, window
from export.reference import Step
from export.settings import EXTENTS, Extent
from export.work import Work

PIECE = 32
"""Number of images to run at a time; 32 take half a gigabyte with the default network."""
MOST_REMEMBERED = 2**30
"""Maximum size of torch's results in memory, in bytes; they're computed once for all files."""


class TorchWindow(NamedTuple):
    """Images and torch's results for them, with which other programs are compared.

    Attributes:
        x: the network's input, see `reference.inputs`.
        time_steps: length of the window.
        trace: torch's states and spikes.
    """

    x: torch.Tensor
    time_steps: int
    trace: Trace


def windows(
    network: Step, inputs: Iterable[torch.Tensor], size: int = PIECE, time_steps: int | None = None
) -> Iterator[TorchWindow]:
    """Runs the reference on batches of its input, `size` images at a time; arguments as for `reference.trace`."""
    for batch in inputs:
        for x in batch.split(size, batch.ndim - 4):
            steps = len(x) if x.ndim == 5 else time_steps or network.config.time_steps
            yield TorchWindow(x, steps, window(torch_runner(network), network, x, steps))


def compared(config: ModelConfig, expected: Iterable[TorchWindow], run: Callable[[TorchWindow], Trace]) -> Comparison:
    """Compares a program with torch; `run` returns what it shows of a window, NumPy arrays in torch's layout."""
    comparison = Comparison(config)
    for one in expected:
        comparison.add(one.trace, run(one))
    return comparison


def equality(network: Step, runner: Runner, expected: Iterable[TorchWindow]) -> Comparison:
    """Compares a runner, which continues from its own states, with windows of the reference."""
    return compared(network.config, expected, lambda one: window(runner, network, one.x, one.time_steps))


def spikes_equality(
    config: ModelConfig, expected: Iterable[TorchWindow], run: Callable[[torch.Tensor], Iterable[torch.Tensor]]
) -> Comparison:
    """Compares a program that shows only the spikes of each layer: a function of `reference.inputs`."""
    names = [node.name for node in config.graph.neurons]

    def spikes(one: TorchWindow) -> Trace:
        return Trace({}, {node: layer.numpy() for node, layer in zip(names, run(one.x), strict=True)})

    return compared(config, expected, spikes)


def problems(who: str, comparison: Comparison) -> list[str]:
    """How the program `who` differs from torch, in one line; empty if it doesn't."""
    sentences = comparison.sentences("torch")
    return [f"in {who}, {'; '.join(sentences)}"] if sentences else []


@dataclass(frozen=True, eq=False)
class CheckImages:
    """Test images on which files must compute the same as the network, with torch's results.

    Attributes:
        network: the trained network.
        test: test images and labels, for accuracy.
        count: number of test images, from the first on, on which spikes are compared.
        extent: how much to check.
        work: counts the processed images.
    """

    network: Network
    test: Split
    count: int
    extent: Extent = EXTENTS["usual"]
    work: Work = field(default_factory=lambda: Work("Checking"), repr=False)

    def batches(self, count: int | None = None) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """Iterates over (network input, see `reference.inputs`; labels) of the first `count` images (None: all).

        It uses the same batches as csnn_jax's evaluation, so the rate encoding draws the same spikes.
        """
        total = len(self.test.labels)
        most = total if count is None else min(count, total)
        for number, rows in enumerate(data.eval_batches(total, min(BATCH, total))[0]):
            left = min(most - number * len(rows), len(rows))
            if left > 0:
                seed = self.network.config.train.seed, 1, number
                x = reference.inputs(self.network.model, self.test.images[rows], seed)
                yield x.narrow(x.ndim - 4, 0, left), self.test.labels[rows[:left]]

    @property
    def compared(self) -> Iterator[TorchWindow]:
        """The images on which spikes are compared, a few at a time, with torch's results."""
        neurons = sum(math.prod(shape) for shape in reference.state_shapes(self.network.model).values())
        small = 4 * neurons * self.network.time_steps * self.count <= MOST_REMEMBERED
        for one in self._remembered if small else self._windows():
            yield one
            self.work.saw(one.x.shape[-4])

    @cached_property
    def _remembered(self) -> list[TorchWindow]:
        return [*self._windows()]

    def _windows(self) -> Iterator[TorchWindow]:
        return windows(self.network.step, (x for x, _ in self.batches(self.count)))

    def few(self, count: int) -> torch.Tensor:
        """The inputs of the first `count` images."""
        return next(self.batches(count))[0]

    def accuracy(self, scores: reference.Scores) -> float:
        """Fraction of the test images that a program classifies correctly: the highest score, or the lowest class."""
        right = [scores(x).argmax(1) == labels for x, labels in self._labeled()]
        return float(np.concatenate(right).mean())

    def _labeled(self) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """`batches`, a few images at a time, so the program can always be interrupted soon."""
        for x, labels in self.batches():
            for number, piece in enumerate(x.split(PIECE, x.ndim - 4)):
                here = labels[number * PIECE :][:PIECE]
                yield piece, here
                self.work.saw(len(here))
