"""Compares exported networks with the trained one: whole windows must have torch's spikes and membranes.

Weights and inputs lie on grids on which all sums are exact (docs/design.md, section 2), so the order of additions
changes no bit. `csnn_jax.runs.equality` compares values without tolerances.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch

from csnn_jax.config import ModelConfig
from csnn_jax.runs.equality import Comparison
from csnn_jax.window import Trace
from export.proof.runners import Runner, TorchRunner, window
from export.reference import Step

PIECE = 32
"""Number of images to run at a time; 32 take half a gigabyte with the default network."""


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
            yield TorchWindow(x, steps, window(TorchRunner(network), network, x, steps))


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
