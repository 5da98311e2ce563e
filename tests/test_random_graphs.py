"""Random networks give the reference's membranes and spikes in every library, and in a loop of snnTorch's modules."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import snntorch as snn
import torch
from backends import Values, last, of_c, of_states, of_trace, simulated
from drawn_graphs import drawn
from flax import nnx
from networks import Network
from torch import nn

from csnn_jax.data.images import as_floats
from csnn_jax.engine import event, scan, stages
from csnn_jax.network.model import from_tensors
from csnn_jax.runs.equality import differ
from csnn_torch import model as companion
from csnn_torch.library import Torch
from export.c import layout

pytestmark = pytest.mark.numeric
POOLS = {"max_pool": nn.functional.max_pool2d, "avg_pool": nn.functional.avg_pool2d}
POOLS["sum_pool"] = lambda x, *window: nn.functional.avg_pool2d(x, *window) * window[0] ** 2
MUTES = {"mute": "zero"}
"""snnTorch's name of a reset."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small networks are slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def of_scan(one: Network) -> Values:
    graph, parameters = nnx.split(from_tensors(one.config, one.masters))
    run = scan.jit(lambda parameters, x: scan.trace(nnx.merge(graph, parameters), x)[1])
    return of_trace(one.config, jax.device_get(run(parameters, one.x)).ordered(one.config.graph))


def of_event(one: Network) -> Values:
    graph, parameters = nnx.split(from_tensors(one.config, one.masters))
    run = scan.jit(lambda parameters, x: event.trace(nnx.merge(graph, parameters), x)[1])
    return of_trace(one.config, jax.device_get(run(parameters, one.x)).ordered(one.config.graph))


def of_numpy(one: Network) -> Values:
    values = simulated(one.config, one.tensors, as_floats(one.x, one.config))
    return {key: array for key, array in values.items() if not key.endswith("current")}


def of_torch(one: Network) -> Values:
    x, graph = companion.channels_first(as_floats(one.x, one.config)), one.config.graph
    parts = []
    for step in Torch().run(graph, Torch().parameters(graph, one.tensors), x, one.config.time_steps):
        spikes = {f"{node.name}.spikes": step.values[node.name].numpy() for node in graph.neurons}
        parts.append(of_states(step.states) | spikes)
    stacked = {key: np.stack([part[key] for part in parts]) for key in parts[0]}
    return {key: last(values) if values.ndim == 5 else values for key, values in stacked.items()}


def of_companion(one: Network) -> Values:
    module = companion.sequential(one.config)
    companion.load_tensors(module, one.masters)
    x = companion.channels_first(as_floats(one.x, one.config))
    trace = companion.trace(module, x, one.config.time_steps)
    return of_trace(one.config, trace.map(lambda array: last(array) if array.ndim == 5 else array))


def of_c_program(one: Network) -> Values:
    x = companion.channels_first(as_floats(one.x, one.config))
    with tempfile.TemporaryDirectory() as folder:
        values = of_c(Path(folder), one.config, one.tensors, x)
    return {key: array for key, array in values.items() if key != "output"}


def of_loop(one: Network) -> Values:
    """What a user of snnTorch would write, with the rounded weights."""
    tensors = {name: torch.tensor(value) for name, value in one.tensors.items()}
    nodes = {node["name"]: node for node in one.described}
    order = [node.name for node in one.config.graph]
    modules = {node.name: neurons(nodes, node.name, tensors) for node in one.config.graph.neurons}
    x = companion.channels_first(as_floats(one.x, one.config))
    frames = x if x.ndim == 5 else x.expand(one.config.time_steps, *x.shape)
    zeros = {node.name: torch.zeros(x.shape[-4], *node.channels_first) for node in one.config.graph}
    zeros["image"] = torch.zeros_like(frames[0])
    states = {name: (zeros[name],) * (2 if nodes[name]["operation"] == "synaptic" else 1) for name in modules}
    outputs: dict[str, list[torch.Tensor]] = {name: [] for name in zeros}
    history: dict[str, list[np.ndarray]] = {}
    for t, frame in enumerate(frames):

        def read(text: str, t: int = t) -> torch.Tensor:
            source, _, delay = text.partition("@")
            return outputs[source][t - int(delay or 0)] if t >= int(delay or 0) else zeros[source]

        outputs["image"].append(frame)
        for name in order:
            node = nodes[name]
            entering = [read(text) for text in node["inputs"]]
            if name not in modules:
                outputs[name].append(stateless(node, tensors, sum(entering[1:], start=entering[0])))
                continue
            if node.get("separate"):
                spikes, *state = modules[name](entering[0], read(f"{name}@1"), *states[name])
            else:
                spikes, *state = modules[name](sum(entering[1:], start=entering[0]), *states[name])
            states[name] = tuple(one.detach().clone() for one in state)
            outputs[name].append(spikes)
            kinds = ("synaptic", "membrane") if len(state) == 2 else ("membrane",)
            for kind, array in (*zip(kinds, states[name], strict=True), ("spikes", spikes)):
                history.setdefault(f"{name}.{kind}", []).append(array.detach().numpy())
    stacked = {key: np.stack(arrays) for key, arrays in history.items()}
    return {key: last(values) if values.ndim == 5 else values for key, values in stacked.items()}


def stateless(node: dict[str, Any], tensors: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    weight, bias = tensors.get(f"{node['name']}.weight"), tensors.get(f"{node['name']}.bias")
    match node["operation"]:
        case "convolution":
            return nn.functional.conv2d(x, weight, bias, node.get("stride", 1), node.get("padding", 0))
        case "linear":
            return nn.functional.linear(x, weight, bias)
        case "one_to_one":
            return x * weight if bias is None else x * weight + bias
        case "flatten":
            return x.flatten(1)
    size = node.get("size", 2)
    return POOLS[node["operation"]](x, size, node.get("stride", size))


def neurons(nodes: dict[str, Any], name: str, tensors: dict[str, torch.Tensor]) -> nn.Module:
    """snnTorch's module for a node: RLeaky or RSynaptic if it adds its inputs one by one."""
    node = nodes[name]
    synaptic, integrates = node["operation"] == "synaptic", node.get("integrator", False)
    values = {}
    for parameter in ("alpha", "beta", "threshold") if synaptic else ("beta", "threshold"):
        value = tensors.get(f"{name}.{parameter}", torch.tensor(node.get(parameter, 1.0)))
        over_pixels = value.ndim and is_image(nodes, name)
        values[parameter] = value[:, None, None] if over_pixels else value
    if integrates:
        values["threshold"] = torch.tensor(2.0**100)
    reset = "none" if integrates else node.get("reset", "subtract")
    if not node.get("separate"):
        made = (snn.Synaptic if synaptic else snn.Leaky)(**values, reset_mechanism=reset)
        made.threshold = values["threshold"]
        return made
    recurrent = nodes[node["inputs"][1]]
    weight = tensors[f"{recurrent['name']}.weight"]
    if recurrent["operation"] == "one_to_one":
        values |= {"all_to_all": False, "V": weight}
    else:
        values["linear_features"] = len(weight)
    made = (snn.RSynaptic if synaptic else snn.RLeaky)(**values, reset_mechanism=MUTES.get(reset, reset))
    made.threshold = values["threshold"]
    if recurrent["operation"] == "linear":
        made.recurrent.load_state_dict({"weight": weight, "bias": tensors[f"{recurrent['name']}.bias"]})
    return made


def is_image(nodes: dict[str, Any], name: str) -> bool:
    """Whether neurons have the channels of images."""
    source = nodes[name]
    while source["operation"] not in ("convolution", "linear", "one_to_one"):
        source = nodes[source["inputs"][0].partition("@")[0]]
    return source["operation"] == "convolution"


def problems(seed: int) -> Iterator[str]:
    """One line for each value of a program that differs from the reference's."""
    one = drawn(seed)
    wanted = {
        f"{name}.{kind}": array
        for name, state in one.layers.items()
        for kind, array in state.items()
        if kind in ("membrane", "synaptic", "spikes")
    }
    programs = [of_scan, of_numpy, of_torch]
    if stages.lacking(from_tensors(one.config, one.masters), frames=one.x.ndim == 5) is None:
        programs.append(of_event)
    if layout.reason_against(one.config) is None:
        programs.append(of_c_program)
    kinds = {(node.operation.reset, node.operation.separate) for node in one.config.graph.neurons}
    if not kinds & {("clear", False), ("mute", False), ("deduct", False)}:  # snnTorch lacks them
        programs.append(of_loop)
        if not any(separate for _, separate in kinds):
            programs.append(of_companion)
    for program in programs:
        values = program(one)
        if values.keys() != wanted.keys():
            yield f"{seed}: {program.__name__}: {values.keys() ^ wanted.keys()}"
        for key in wanted.keys() & values.keys():
            if count := differ(np.asarray(values[key], np.float32), wanted[key].astype(np.float32)):
                yield f"{seed}: {program.__name__}: {key} differs in {count} of {wanted[key].size}"


@pytest.mark.parametrize("seed", range(5))
def test_random_networks_are_equal_everywhere(seed: int) -> None:
    wrong = [*problems(seed)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(start, start + 23) for start in range(5, 235, 23)], ids=str)
def test_more_random_networks_are_equal_everywhere(seeds: range) -> None:
    wrong = [line for seed in seeds for line in problems(seed)]
    assert not wrong, "\n".join(wrong)
