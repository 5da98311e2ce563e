"""Everything that computes a network, as functions from the network's name to values with names as in `expected`.

A backend that can't run a network raises the product's own error.
"""

import ctypes
import functools
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx
from networks import network

from csnn_jax.config import Config, ModelConfig
from csnn_jax.data import Split
from csnn_jax.data.images import as_floats
from csnn_jax.engine import event, scan
from csnn_jax.engine.library import Unsupported
from csnn_jax.errors import UserError
from csnn_jax.initial import simulation
from csnn_jax.network.model import from_tensors
from csnn_jax.neurons.neuron import State
from csnn_jax.runs import layouts
from csnn_jax.window import Trace, output, start, summed
from csnn_jax.window import window as run
from csnn_torch import model as companion
from csnn_torch.first_difference import simulation as experiment
from csnn_torch.foreign import nir_network
from csnn_torch.programs import PROGRAMS
from export import reference
from export.c import headers, layout, program
from export.graphs import few_bits, nir_graph, onnx_file
from export.network import Bundle
from export.network import Network as Trained
from export.parts import nir, sequence, step
from export.proof.runners import Runner, onnx_runner, reference_runner, window

Values = dict[str, np.ndarray]
Layers = Iterable[np.ndarray | torch.Tensor]
NAMES = {"mem": "membrane", "syn": "synaptic"}
"""The product's and the reference's names of states."""


class Refused(Exception):
    """A ValueError for a network or an input that a function doesn't take; others are mistakes of tests or product."""


REFUSALS = (Unsupported, UserError, Refused)


def unless_refused(reason: str | None, call: Callable, *arguments: Any) -> Any:
    """Calls a function whose ValueErrors are refusals if they give this reason."""
    try:
        return call(*arguments)
    except ValueError as error:
        if reason is None or str(error) != reason:
            raise
        raise Refused(reason) from error


@functools.cache
def expected(name: str) -> Values:
    """What the reference computes.

    Returns:
        For each layer of neurons, such as lif1:

        - `lif1.current` unless its inputs are separate, `lif1.membrane`, `lif1.synaptic` if it has one, and
          `lif1.spikes` [time, batch, ...], channels last;
        - `lif1.last membrane` and `lif1.last synaptic` [batch, ...], after the last step;
        - `lif1.ever` [batch, channels]: whether a channel spikes in the window.

        For the network:

        - `forward` [time, batch, classes]: the spikes of the last layer, or its membranes if it never spikes;
        - `output`: its spikes or membranes, whichever the class is read from, and `scores` [batch, classes], their sum;
        - `fired` [batch, layers]: the number of spikes.
    """
    config, layers = network(name).config, network(name).layers
    values, fired = {}, []
    for layer, of_layer in layers.items():
        states = {kind: of_layer[kind] for kind in NAMES.values() if kind in of_layer}
        currents = {"current": of_layer["current"]} if "current" in of_layer else {}
        spikes = of_layer["spikes"]
        last = {f"last {kind}": state[-1] for kind, state in states.items()}
        ever = spikes.reshape(len(spikes), spikes.shape[1], -1, spikes.shape[-1]).any((0, 2))
        every = currents | {"spikes": spikes, "ever": ever} | states | last
        values |= {f"{layer}.{kind}": array for kind, array in every.items()}
        fired.append(spikes.sum((0, *range(2, spikes.ndim))))
    values["forward"] = states["membrane"] if config.output == "integrator" else spikes
    values["output"] = states["membrane"] if config.readout == "membrane" else spikes
    return values | {"scores": summed(values["output"]), "fired": np.stack(fired, 1)}


def by_layer(config: ModelConfig, kind: str, layers: Layers) -> Values:
    """The values of every layer by name."""
    nodes = config.graph.neurons
    return {f"{node.name}.{kind}": np.asarray(values) for node, values in zip(nodes, layers, strict=True)}


def of_states(states: Mapping[str, State], prefix: str = "") -> Values:
    """The states of neurons by name."""
    return {
        f"{node}.{prefix}{NAMES[kind]}": np.asarray(values)
        for node, state in states.items()
        for kind, values in state.items()
        if kind in NAMES
    }


def of_trace(config: ModelConfig, trace: Trace) -> Values:
    """All that a trace has, with channels last."""
    values = by_layer(config, "spikes", trace.spikes.values()) if trace.spikes else {}
    return values | of_states(trace.states)


def last(x: np.ndarray) -> np.ndarray:
    """[time, batch, channels, height, width] as [time, batch, height, width, channels]."""
    return np.moveaxis(np.asarray(x), 2, -1)


def torch_input(name: str) -> torch.Tensor:
    """The input as floats, channels first."""
    return companion.channels_first(as_floats(network(name).x, network(name).config))


# csnn_jax


def engine(engine: Any, name: str) -> Values:
    """What an engine returns for a trace and for evaluation."""
    config, both = network(name).config, ("trace", "count")
    (last, trace), counts, *_ = compiled(engine, name, both + OTHERS if name in TOGETHER else both)
    values = of_trace(config, trace.ordered(config.graph)) | lasts(config, last)
    return values | {"scores": counts.scores, "fired": counts.fired}


def window_of(engine: Any, name: str) -> Values:
    """What an engine's other functions return, for which it keeps other values."""
    config = network(name).config
    *_, (last, output), ever = compiled(engine, name, ("trace", "count", *OTHERS) if name in TOGETHER else OTHERS)
    return by_layer(config, "ever", ever) | lasts(config, last) | {"forward": output}


OTHERS = ("forward", "ever_fired")
TOGETHER = (
    *("no pool, no bias, membranes", "even kernels, integrator, 6 bits", "counts, five channels", "strides, 5 bits"),
    *("synaptic integrator, values per channel", "recurrent on images, 6 bits", "residual", "delays of all kinds"),
)
"""Networks of every kind, for which the engines' functions are compiled in one program; it takes less time."""


@functools.lru_cache(2)
def compiled(engine: Any, name: str, functions: tuple[str, ...]) -> Any:
    """What functions of an engine return for a network and its input.

    Each function has the input as an argument of its own. Otherwise XLA merges equal calls of kernels.
    """
    graph, parameters = nnx.split(from_tensors(network(name).config, network(name).masters))

    def everything(parameters: Any, *xs: jax.Array) -> Any:
        model = nnx.merge(graph, parameters)
        return [getattr(engine, function)(model, x) for function, x in zip(functions, xs, strict=True)]

    return jax.device_get(scan.jit(everything)(parameters, *[network(name).x] * len(functions)))


def lasts(config: ModelConfig, states: Iterable[State]) -> Values:
    """The states after the last step, by name."""
    names = [node.name for node in config.graph.neurons]
    return of_states(dict(zip(names, states, strict=True)), "last ")


class Floats(simulation.NumPy):
    """NumPy's library, which otherwise computes in float64 after sums of booleans."""

    def spikes(self, *arguments: Any) -> np.ndarray:
        return super().spikes(*arguments).astype(np.float32)


def in_numpy(name: str) -> Values:
    """The array library that calibrates initial weights."""
    config, x = network(name).config, as_floats(network(name).x, network(name).config)
    return simulated(config, network(name).tensors, x)


def simulated(config: ModelConfig, tensors: layouts.Tensors, x: np.ndarray) -> Values:
    """What NumPy's library computes for weights on their grids and an input in floats."""
    graph, parameters = config.graph, dict[str, Any]()
    for weighted in graph.weighted:
        kernel = layouts.from_torch(tensors[f"{weighted.name}.weight"], graph.unflattened(weighted))
        parameters[weighted.name] = {"weight": kernel, "bias": layouts.bias_of(weighted, tensors)}
    for node in graph.neurons:
        values = node.operation.values(tensors)
        parameters[node.name] = {key: np.asarray(value, np.float32) for key, value in values.items()}
    carry = start(graph, lambda node: np.zeros((x.shape[-4], *node.shape), np.float32))
    parts, values = [], list[dict[str, Any]]()
    for moment in run(graph, Floats(), parameters, carry, x, config.time_steps):
        values.insert(0, moment.values)
        currents = {}
        for node in graph.neurons:
            if not node.operation.separate:
                read = (values[delay][source] for source, delay in node.inputs if delay < len(values))
                currents[f"{node.name}.current"] = sum(read, np.zeros((x.shape[-4], *node.shape), np.float32))
        spikes = {f"{node.name}.spikes": moment.values[node.name] for node in graph.neurons}
        parts.append(currents | spikes | of_states(moment.states))
    return {key: np.stack([part[key] for part in parts]) for key in parts[0]}


# csnn_torch


def in_snntorch(layout: torch.memory_format, name: str) -> Values:
    config, masters = network(name).config, network(name).masters
    made = companion.sequential(config)
    companion.load_tensors(made, masters)
    x = companion.channels_first(as_floats(network(name).x, config), layout)
    trace = companion.trace(made.to(memory_format=layout), x, config.time_steps)
    counts = companion.count(made, x, config.time_steps, config.readout)
    values = of_trace(config, trace.map(last))
    with torch.no_grad():
        values["forward"] = companion.forward(made, x, config.time_steps).numpy()
    return values | {"scores": counts.scores.numpy(), "fired": counts.fired.numpy()}


def in_experiments(name: str) -> Values:
    """The simulation that explains differences."""
    config, x = network(name).config, torch_input(name)
    x = x if x.ndim == 5 else x.expand(config.time_steps, *x.shape)
    trace = experiment.simulate(experiment.Network(config, network(name).tensors), x)
    spikes = {node: trace.spikes.get(node, np.zeros_like(u)) for node, u in trace.membranes.items()}
    return of_trace(config, Trace(trace.states, spikes).map(last))


# export


def in_torch(name: str) -> Values:
    return of_step(network(name).config, network(name).tensors, torch_input(name))


def of_step(config: ModelConfig, tensors: layouts.Tensors, x: torch.Tensor) -> Values:
    trace = reference.trace(reference.Step(config, tensors), x, config.time_steps)
    return of_trace(config, trace.map(last)) | {"output": output(config, *trace).numpy()}


_FOLDERS = tempfile.TemporaryDirectory(prefix="csnn-test-exports-")


@functools.cache
def bundle(name: str) -> Bundle:
    """An empty bundle, for parts to write to."""
    config, x = network(name).config, network(name).x
    folder = Path(tempfile.mkdtemp(dir=_FOLDERS.name))
    frames = len(x) if x.ndim == 5 and config.encoding == "direct" else None
    made, opset = Trained(Config(config), network(name).tensors, frames), few_bits.opset(config.weight_bits)
    none = Split(np.zeros((0, *config.input_shape), np.uint8), np.zeros(0, np.int32))
    return Bundle(folder, folder / "scratch", made, made.config, opset, none)


@functools.cache
def written(part: ModuleType, name: str) -> Path:
    """The folder of a network's bundle, in which a part has written its files."""
    part.PART.write(bundle(name))
    return bundle(name).folder


def in_steps(runner: Runner, name: str, images: int | None = None, steps: int | None = None) -> Values:
    """A program that runs single steps."""
    config, x = network(name).config, torch_input(name)
    x = x[:steps, :images] if x.ndim == 5 else x[:images]
    return of_runner(runner, config, network(name).tensors, x, min(steps or config.time_steps, config.time_steps))


def of_runner(
    runner: Runner, config: ModelConfig, tensors: layouts.Tensors, x: torch.Tensor, steps: int | None = None
) -> Values:
    """Without the spikes, which aren't all the program's."""
    trace = window(runner, reference.Step(config, tensors), x, steps)
    states = trace.states[config.graph.neurons[-1].name]
    read = states["output"] if config.readout == "membrane" else output(config, *trace)
    return of_trace(config, Trace(trace.states, {}).map(last)) | {"output": read}


def in_onnxruntime(file: str, name: str, **flags: Any) -> Values:
    return in_steps(onnx_runner(onnx_file.load(written(step, name) / file), **flags), name)


def in_evaluator(name: str) -> Values:
    """onnx's own evaluator, which is slow."""
    return in_steps(reference_runner(onnx_file.load(written(step, name) / "step.onnx")), name, 1, 4)


def in_sequence(name: str) -> Values:
    written(step, name)
    scores, output = sequence.runner(onnx_file.load(written(sequence, name) / sequence.NAME))(torch_input(name))
    return {"scores": scores, "output": output}


class Library(program.Library):
    """The compiled library, which also shows the spikes of every layer, for one image at a time."""

    def __init__(self, path: Path, config: ModelConfig):
        super().__init__(path, config)
        self._c.csnn_spikes.restype = ctypes.POINTER(headers.index_type(config))
        self.spikes: list[list[np.ndarray]] = [[] for _ in config.graph.neurons]

    def step(self, states: Sequence[np.ndarray], x: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        scale = np.float32(self.config.entering.scale)
        reason = f"x: expected whole numbers from 0 to 255, divided by {scale}"
        result = unless_refused(reason, super().step, states, x)
        count = ctypes.c_int32()
        for number, node in enumerate(self.config.graph.neurons):
            indices = self._c.csnn_spikes(self._state, number, ctypes.byref(count))[: count.value]
            spikes = np.zeros((1, node.size), np.float32)
            spikes[0, indices] = 1
            self.spikes[number].append(spikes.reshape(1, *node.shape))
        return result


def in_c(name: str) -> Values:
    """With the channels that can't fire, which bundles leave out."""
    return of_c(bundle(name).folder / "c", network(name).config, network(name).tensors, torch_input(name))


def of_c(folder: Path, config: ModelConfig, tensors: layouts.Tensors, x: torch.Tensor) -> Values:
    frames = len(x) if x.ndim == 5 and config.encoding == "direct" else None
    unless_refused(layout.reason_against(config), program.write_sources, folder, config, tensors, frames)
    command = [os.environ.get("CC", "cc"), "-std=c99", "-O0", "-fPIC", "-shared", "csnn.c", "-o", "libcsnn.so"]
    subprocess.run(command, cwd=folder, check=True)
    images = []
    for image in x.split(1, -4):
        library = Library(folder / "libcsnn.so", config)
        values = of_runner(library.step, config, tensors, image)
        images.append(values | by_layer(config, "spikes", map(np.stack, library.spikes)))
    return {key: np.concatenate([image[key] for image in images], 1) for key in images[0]}


def nir_file(program: str, name: str) -> Path:
    """A network's NIR file for a program."""
    target = PROGRAMS[program].target
    path, arguments = bundle(name).folder / target.file, (network(name).config, network(name).tensors, target)
    unless_refused(nir_graph.reason_against(*arguments), nir_graph.write, path, *arguments)
    return path


def in_nir(name: str) -> Values:
    """network.nir: spikes as proofs run it, by snnTorch or NIR's definition, and states of what csnn_torch reads."""
    path, config, x = nir_file("snntorch", name), network(name).config, torch_input(name)
    if nir_graph.has_delays(config.graph):
        spikes = nir.run_defined(path, config, x, config.time_steps)
    else:
        spikes = nir.run(nir_graph.read(path), x, config.time_steps)
    return read_back(path, name) | by_layer(config, "spikes", map(last, spikes))


def in_arithmetic(program: str, name: str) -> Values:
    """A NIR file for another program: spikes by its arithmetic, and states of the network that csnn_torch reads."""
    config, path = network(name).config, nir_file(program, name)
    spikes = nir.simulate(path, PROGRAMS[program], torch_input(name), config.time_steps, like_ours=True)
    return read_back(path, name) | by_layer(config, "spikes", map(last, spikes))


def read_back(path: Path, name: str) -> Values:
    """Without spikes; SpikingJelly's file may have a synaptic current that our network lacks."""
    converted = nir_network.read(str(path))
    assert not any("of its input" in note for note in converted.notes), converted.notes
    theirs, ours = converted.config.graph, network(name).config.graph
    assert all({*theirs.reads(theirs[node.name])} == {*ours.reads(node)} for node in ours.neurons)
    values = of_step(converted.config, layouts.on_grid(converted.config, converted.tensors), torch_input(name))
    return {key: values[key] for key in values.keys() & expected(name) if not key.endswith("spikes")}


@dataclass(frozen=True)
class Backend:
    """A way to compute a network.

    Attributes:
        run: maps a network's name to values.
        kinds: the kinds of values, `membrane` for `lif1.membrane` etc.
        whole: whether it computes all steps and images, not only the first ones.
    """

    run: Callable[[str], Values]
    kinds: frozenset[str]
    whole: bool = True


def backend(run: Callable[..., Values], *arguments: Any, kinds: str, whole: bool = True, **flags: Any) -> Backend:
    """A backend; kinds are separated by commas."""
    return Backend(functools.partial(run, *arguments, **flags), frozenset(kinds.split(", ")), whole)


STATES = "membrane, synaptic"
OF_ENGINE = f"{STATES}, spikes, scores, fired"
LAST = "last membrane, last synaptic"
STEP = f"{STATES}, output"
BACKENDS = {
    "scan": backend(engine, scan, kinds=f"{OF_ENGINE}, {LAST}"),
    "event": backend(engine, event, kinds=f"{OF_ENGINE}, {LAST}"),
    "NumPy": backend(in_numpy, kinds=f"current, {STATES}, spikes"),
    "torch": backend(in_torch, kinds=f"{STEP}, spikes"),
    "snnTorch": backend(in_snntorch, torch.contiguous_format, kinds=f"{OF_ENGINE}, forward"),
    "snnTorch, channels last": backend(in_snntorch, torch.channels_last, kinds=f"{OF_ENGINE}, forward"),
    "experiments": backend(in_experiments, kinds=f"{STATES}, spikes"),
    "step.onnx": backend(in_onnxruntime, "step.onnx", kinds=STEP),
    "step.onnx, floats made at every call": backend(in_onnxruntime, "step.onnx", kinds=STEP, dequantize_once=False),
    "step_b1.onnx": backend(in_onnxruntime, "step_b1.onnx", kinds=STEP),
    "step.onnx, evaluator": backend(in_evaluator, kinds=STEP, whole=False),
    "sequence.onnx": backend(in_sequence, kinds="output, scores"),
    "C": backend(in_c, kinds=f"{STEP}, spikes"),
    "network.nir": backend(in_nir, kinds=f"{STEP}, spikes"),
    "network_norse.nir": backend(in_arithmetic, "norse", kinds=f"{STEP}, spikes"),
    "network_sinabs.nir": backend(in_arithmetic, "sinabs", kinds=f"{STEP}, spikes"),
    "network_spikingjelly.nir": backend(in_arithmetic, "spikingjelly", kinds=f"{STEP}, spikes"),
}
WINDOWS = {
    "scan": backend(window_of, scan, kinds=f"{LAST}, forward, ever"),
    "event": backend(window_of, event, kinds=f"{LAST}, forward, ever"),
}
"""The engines' other functions."""
