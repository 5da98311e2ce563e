"""The two sides of a comparison: networks computed here, ONNX steps, and NIR files in the programs that read them."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from csnn_jax import reading
from csnn_jax.config import Config
from csnn_jax.errors import UserError, first_line, one_line
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.runs import rundir
from csnn_jax.window import Trace, joined
from csnn_torch.first_difference.simulation import Network, simulate
from csnn_torch.foreign import nir_file, nir_network
from csnn_torch.programs import PROGRAMS
from csnn_torch.programs.program import Program

BEFORE, AFTER = "before", "after"
"""A membrane is read before or after the reset that its own spike causes."""


class Side:
    """One of the two compared networks: here, one that's computed in torch.

    Attributes:
        name: as the user gave it.
        program: what runs it, with its version.
        held: when its membranes are read, `BEFORE` or `AFTER`.
        input_shape: shape of an image without the batch, in torch's layout; None: any.
        network: the network as computed here, for experiments; None: it can't be read.
        job: its training job, for images and steps; None: unknown.
        why_unread: why there's no network, in one line; empty if there is one.
    """

    held = BEFORE
    input_shape: tuple[int, ...] | None
    network: Network | None
    why_unread = ""

    def __init__(self, name: str, program: str, network: Network, job: Config | None = None):
        self.name, self.program, self.network, self.job = name, f"{program} in torch {torch.__version__}", network, job
        height, width, channels = network.model.input_shape
        self.input_shape = channels, height, width

    def record(self, x: Tensor) -> Trace:
        """Runs the window from the initial state on inputs [time, batch, *input_shape], float32.

        Returns:
            NumPy arrays in torch's layout for `lif1`, `lif2`, ...: the membranes of all, and the spikes of those that
                spike and show it.
        """
        assert self.network is not None
        return simulate(self.network, x)


def _by_image(run: Callable[[Tensor], Trace], x: Tensor) -> Trace:
    """Runs the window of one image after another."""
    return joined((run(x[:, i : i + 1]) for i in range(x.shape[1])), lambda arrays: np.concatenate(arrays, axis=1))


class NirFile(Side):
    """A network in a program.

    Args:
        program: reads and runs it.
        path: the file.
        name: as the user gave it.
        dt: the program's time step, seconds; None: its own.

    Raises:
        UserError: the program isn't installed or can't read the file, or the file is missing or isn't NIR.
    """

    held = AFTER
    job = None

    def __init__(self, program: Program, path: str, name: str, dt: float | None):
        self.name, self._program, rules = name, program, program.rules
        if not Path(path).is_file():
            raise UserError(f"{one_line(name)}: no such file, expected a NIR file")
        _require(program, name)
        self._dt = dt or rules.dt
        step = f", time step {self._dt:g} s" if rules.dt and not rules.fixed else ""
        packages = (package.partition("<")[0] for package in program.packages)
        self.program = ", ".join(f"{package} {version(package)}" for package in packages) + step
        self._graph = _read(path)
        inputs = [node for node in self._graph.nodes.values() if type(node).__name__ == "Input"]
        shapes = [tuple(map(int, shape)) for node in inputs for shape in node.input_type.values()]
        self.input_shape = shapes[0] if len(shapes) == 1 else None
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
        return _by_image(self._window, x)

    def _window(self, x: Tensor) -> Trace:
        network, steps = self._load(x.shape[1]), []
        try:
            for layers in self._program.importer.run(network, x):
                steps.append(_trace(_names(self.network, len(layers)), layers, x.shape[1]))
        except Exception as error:  # programs raise anything for a network they can't run
            raise UserError(f"{one_line(self.name)}: the program can't run the network: {_message(error)}") from None
        if (ran := len(steps[-1].states)) != self._layers:
            few = f"{self._program.name} runs {ran} of its {self._layers} layers of neurons"
            raise UserError(f"{one_line(self.name)}: {few}, because it silently skips nodes that it doesn't support")
        return joined(steps, lambda arrays: torch.stack(arrays).numpy())

    def _load(self, batch: int) -> Any:
        logging.getLogger().setLevel(logging.ERROR)  # Norse logs warnings about what it ignores
        try:
            return self._program.importer.load(self._graph, batch, self._dt)
        except Exception as error:  # programs raise anything for a network they don't accept
            raise UserError(f"{one_line(self.name)}: the program can't import the network: {_message(error)}") from None


def _names(network: Network | None, count: int) -> list[str]:
    """The names of a side's layers of neurons: those of its network, or else numbers."""
    names = [node.name for node in network.model.graph.neurons] if network else []
    return names if len(names) == count else [f"lif{number}" for number in range(1, count + 1)]


def _trace(names: list[str], layers: list[tuple[Tensor | None, Tensor]], batch: int) -> Trace:
    """A step's trace from each layer's spikes and membranes."""
    named = dict(zip(names, layers, strict=True))
    whole = {node: _batched(membrane) for node, (_, membrane) in named.items()}
    states = {node: {MEMBRANE: one.expand(batch, *one.shape[1:]).clone()} for node, one in whole.items()}
    return Trace(states, {node: _batched(spikes) for node, (spikes, _) in named.items() if spikes is not None})


def defined(path: str, dt: float | None, written_by: str | None = None) -> Network:
    """Reads a NIR file's network by NIR's definition or a program's rules, with the file's weights.

    Raises:
        UserError: it can't be read, see `nir_network.read`.
    """
    read = partial(nir_network.read, path, dt=dt, written_by=written_by, stated_rules=False)
    network = read(divided_by=read().config.pixels.scale)
    return Network(network.config, network.tensors)


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
        raise UserError(f"{one_line(path)}: expected a NIR file for nir {version('nir')}: {_message(error)}") from None


def _message(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {first_line(error)}", 200)


class OnnxStep(Side):
    """A step graph as `python -m export` writes it.

    Its job and network come from the config.json and the weights.safetensors in its folder.

    Args:
        path: the file.

    Raises:
        UserError: onnx or ONNX Runtime isn't installed, or the file isn't such a graph.
    """

    def __init__(self, path: str):
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise UserError(f"{path}: {error.name} isn't installed, expected `pip install onnx onnxruntime`") from None
        self.name, self.program = path, f"ONNX Runtime {onnxruntime.__version__}"
        data = reading.read(path, "an ONNX file", reading.PROTOBUF)
        try:
            model = onnx.ModelProto.FromString(data)
            onnx.checker.check_model(model)
        except Exception as error:  # protobuf and onnx raise many kinds
            raise UserError(f"{path}: expected an ONNX file: {first_line(error)}") from None
        self._names = [value.name for value in model.graph.input]
        self._states = [value.name for value in model.graph.output][1:]
        if not self._states or self._names != ["image", *(name.removesuffix("_next") for name in self._states)]:
            expected = "expected a single step, as in a bundle's step.onnx: image and the states, mem1, ..."
            raise UserError(f"{path}: takes {', '.join(self._names)}; {expected}")
        self._layers = [name.startswith(MEMBRANE) and "@" not in name for name in self._states]  # not mem@1, a node's
        shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.input]
        self._one, self._shapes = shapes[0][0] == 1, [tuple(shape[1:]) for shape in shapes]
        self.input_shape = self._shapes[0]
        self._spikes = _spikes(model.graph, sum(self._layers))
        asked = {value.name for value in model.graph.output}
        hidden = [name for name in self._spikes.values() if name not in asked]
        model.graph.output.extend(
            onnx.helper.make_tensor_value_info(one, onnx.TensorProto.FLOAT, None) for one in hidden
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised, too, and would be printed with names from the file
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise UserError(f"{path}: ONNX Runtime can't run it: {first_line(error)}") from None
        steps = next((prop.value for prop in model.metadata_props if prop.key == "time_steps"), None)
        self.job, self.network, self.why_unread = _bundle_of(Path(path), steps)

    def record(self, x: Tensor) -> Trace:
        """Runs the window; if the graph's batch size is fixed at 1, image by image."""
        return _by_image(self._window, x) if self._one else self._window(x)

    def _window(self, x: Tensor) -> Trace:
        states = [np.zeros((x.shape[1], *shape), np.float32) for shape in self._shapes[1:]]
        asked = [self._session.get_outputs()[0].name, *self._states, *self._spikes.values()]
        steps = []
        for frame in x.numpy():
            try:
                values: list[Any] = self._session.run(asked, dict(zip(self._names, (frame, *states), strict=True)))
            except Exception as error:  # ONNX Runtime's errors have no common class
                raise UserError(f"{self.name}: ONNX Runtime can't run it: {first_line(error)}") from None
            outputs = dict(zip(asked, values, strict=True))
            states = [outputs[name] for name in self._states]
            membranes = [one for one, is_membrane in zip(states, self._layers, strict=True) if is_membrane]
            names = _names(self.network, len(membranes))
            by_node = {node: {MEMBRANE: one} for node, one in zip(names, membranes, strict=True)}
            steps.append(Trace(by_node, {names[place]: outputs[name] for place, name in self._spikes.items()}))
        return joined(steps, np.stack)


def _spikes(graph: Any, layers: int) -> dict[int, str]:
    """The names of the spikes, `spikes1`, ..., and the output's, by the layer's place, if the graph has them."""
    made = {name for node in graph.node for name in node.output}
    hidden = {place: f"spikes{place + 1}" for place in range(layers - 1) if f"spikes{place + 1}" in made}
    return hidden | ({layers - 1: "spikes"} if graph.output[0].name == "spikes" else {})


def _bundle_of(path: Path, steps: str | None) -> tuple[Config | None, Network | None, str]:
    """The job and the network of a file's bundle, or why there's none."""
    try:
        _, config, tensors = rundir.open_run(str(path.parent))
    except UserError:
        return None, None, "it's not in a folder with a bundle's config.json and weights.safetensors"
    if steps and steps.isdecimal() and int(steps):
        config = replace(config, model=replace(config.model, time_steps=int(steps)))
    return config, Network(config.model, tensors), ""


EXPECTED = f"a run directory, a step.onnx, FILE.nir or PROGRAM:FILE.nir, where PROGRAM is one of {', '.join(PROGRAMS)}"


def open_side(name: str, dt: float | None = None, written_by: str | None = None) -> Side:
    """Opens A or B.

    Args:
        name: as given by the user.
        dt: time step of a NIR file's network, seconds; None: the program's own.
        written_by: program whose rules apply to a NIR file without a PROGRAM; None: NIR's definition.

    Raises:
        UserError: it doesn't exist, can't be run, or needs a program that isn't installed.
    """
    program, colon, file = name.partition(":")
    if colon and file.endswith(".nir"):
        if program not in PROGRAMS:
            raise UserError(f"{one_line(name)}: there is no program {one_line(program)}, expected {EXPECTED}")
        return NirFile(PROGRAMS[program], file, name, dt)
    if nir_file.is_nir(name):
        rules = f"the rules of {written_by}" if written_by else "NIR's definition"
        return Side(name, f"by {rules},", defined(name, dt, written_by))
    path = Path(name)
    if not path.exists():
        raise UserError(f"{one_line(name)}: no such file or directory, expected {EXPECTED}")
    if path.is_dir():
        if (path / "manifest.json").is_file():
            raise UserError(f"{one_line(name)}: is a bundle, expected its {path / 'step.onnx'} or a run directory")
        _, config, tensors = rundir.open_run(name)
        return Side(name, "the run's network", Network(config.model, tensors), config)
    if path.suffix == ".onnx":
        return OnnxStep(name)
    raise UserError(f"{one_line(name)}: expected {EXPECTED}")
