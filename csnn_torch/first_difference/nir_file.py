"""Runs a NIR file in a program that reads it."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from csnn_jax.config import Config
from csnn_jax.errors import UserError, first_line, one_line
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.window import Trace, joined
from csnn_torch.first_difference.side import AFTER
from csnn_torch.first_difference.simulation import Network
from csnn_torch.foreign import nir_file, nir_network
from csnn_torch.programs.program import Program


class NirFile:
    """A network in a program; see `side.Side`.

    Args:
        program: reads and runs it.
        path: the file.
        name: as the user gave it.
        dt: the program's time step, seconds; None: its own.

    Raises:
        UserError: the program isn't installed or can't read the file, or the file is missing or isn't NIR.
    """

    held = AFTER
    job: Config | None = None

    def __init__(self, program: Program, path: str, name: str, dt: float | None):
        self.name, self._program, rules = name, program, program.rules
        if not Path(path).is_file():
            raise UserError(f"{one_line(name)}: no such file, expected a NIR file")
        _require(program, name)
        self._dt = dt or rules.dt
        step = f", time step {self._dt:g} s" if rules.dt and not rules.fixed else ""
        first, *rest = (package.partition("<")[0] for package in program.packages)
        self.program = f"{first} {version(first)}, {', '.join(f'{one} {version(one)}' for one in rest)}{step}"
        self._graph = _read(path)
        inputs = [node for node in self._graph.nodes.values() if type(node).__name__ == "Input"]
        shapes = [tuple(map(int, shape)) for node in inputs for shape in node.input_type.values()]
        self.input_shape: tuple[int, ...] | None = shapes[0] if len(shapes) == 1 else None
        self._layers = _neurons(self._graph)
        self.network, self.why_unread = None, ""
        try:
            self.network = defined(path, dt or (None if rules.fixed else rules.dt))
        except UserError as error:
            self.why_unread = str(error)
        self._one_by_one = False
        self._load(1)

    @torch.no_grad()
    def record(self, x: Tensor) -> Trace:
        """Runs the window in a freshly imported network, so in its initial state.

        One image at a time if the program can't run more, like snnTorch if Flatten has start_dim 0.
        """
        if not self._one_by_one and x.shape[1] > 1:
            try:
                return self._window(x)
            except UserError:
                self._one_by_one = True
        images = [self._window(x[:, i : i + 1]) for i in range(x.shape[1])]
        return joined(images, lambda arrays: np.concatenate(arrays, axis=1))

    def _window(self, x: Tensor) -> Trace:
        network, steps = self._load(x.shape[1]), []
        try:
            for layers in self._program.importer.run(network, x):
                steps.append(_trace(layers, x.shape[1]))
        except Exception as error:  # programs raise anything for a network they can't run
            raise UserError(f"{one_line(self.name)}: the program can't run the network: {_said(error)}") from None
        if (ran := len(steps[-1].states)) != self._layers:
            few = f"{self._program.name} runs {ran} of its {self._layers} layers of neurons"
            raise UserError(f"{one_line(self.name)}: {few}, because it silently skips nodes that it doesn't support")
        return joined(steps, lambda arrays: torch.stack(arrays).numpy())

    def _load(self, batch: int) -> Any:
        logging.getLogger().setLevel(logging.ERROR)  # Norse logs warnings about what it ignores
        try:
            return self._program.importer.load(self._graph, batch, self._dt)
        except Exception as error:  # programs raise anything for a network they don't accept
            raise UserError(f"{one_line(self.name)}: the program can't import the network: {_said(error)}") from None


def _trace(layers: list[tuple[Tensor | None, Tensor]], batch: int) -> Trace:
    """A step's trace from each layer's spikes and membranes."""
    named = {f"lif{number}": layer for number, layer in enumerate(layers, 1)}
    whole = {node: _batched(membrane) for node, (_, membrane) in named.items()}
    states = {node: {MEMBRANE: one.expand(batch, *one.shape[1:]).clone()} for node, one in whole.items()}
    return Trace(states, {node: _batched(spikes) for node, (spikes, _) in named.items() if spikes is not None})


def defined(path: str, dt: float | None, written_by: str | None = None) -> Network:
    """Reads a NIR file's network by NIR's definition or a program's rules, with the file's weights.

    Raises:
        UserError: it can't be read, see `nir_network.read`.
    """
    scale = nir_network.read(path, dt=dt, written_by=written_by).config.pixels.scale
    found = nir_network.read(path, dt=dt, written_by=written_by, divided_by=scale)
    return Network(found.config, found.tensors)


def _neurons(graph: Any) -> int:
    """The number of layers of neurons in a graph, including inner graphs."""
    kinds = {"IF", "LIF", "CubaLIF", "LI", "CubaLI"}
    nodes = graph.nodes.values()
    return sum(_neurons(one) if type(one) is type(graph) else type(one).__name__ in kinds for one in nodes)


def _batched(x: Tensor) -> Tensor:
    """Restores the batch axis, [1, features] or [1, C, H, W], if the program flattened it away."""
    return x if x.ndim in (2, 4) else x[None]


def _require(program: Program, name: str) -> None:
    """Raises UserError if a package isn't installed."""
    for package in program.packages:
        plain = package.partition("<")[0]
        try:
            __import__(plain)
        except ImportError as error:
            quoted = (f'"{one}"' if "<" in one else one for one in program.packages)
            install = f"pip install {' '.join(quoted)}"
            raise UserError(f"{one_line(name)}: {plain} isn't installed ({error}), expected `{install}`") from None


def _read(path: str) -> Any:
    import nir

    nir_file.read(path, newer=True)  # nir follows links to other files, and nodes of any number
    try:
        try:
            return nir.read(path, type_check=False)  # Norse's files have shapes with a batch
        except TypeError:  # nir 1.0.4, which has no check
            return nir.read(path)
    except Exception as error:  # h5py and nir raise many kinds
        raise UserError(f"{one_line(path)}: expected a NIR file for nir {version('nir')}: {_said(error)}") from None


def _said(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {first_line(error)}", 200)
