"""network.nir means what NIR defines; tests/test_matrix.py runs it in snnTorch's importer."""

from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from backends import expected, last, nir_file, torch_input
from bundles import SMALL, drawn
from networks import network
from torch.nn import functional

from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_torch.programs import PROGRAMS, definition
from csnn_torch.programs.program import Program
from export import reference
from export.graphs import nir_graph
from export.parts.nir import simulate

pytestmark = pytest.mark.numeric


def equations(graph: nir.NIRGraph, x: torch.Tensor, time_steps: int) -> list[torch.Tensor]:
    """Every layer's spikes by NIR's equations, in float64 with Euler's method, without any reader's code."""
    state, currents = ({name: torch.tensor(0.0) for name in graph.nodes} for _ in range(2))
    spikes: dict[str, list[torch.Tensor]] = {
        name: [] for name, node in graph.nodes.items() if isinstance(node, (nir.LIF, nir.CubaLIF))
    }
    follows = dict(graph.edges)
    for frame in reference.frames(x.double(), time_steps):
        value, name = frame, follows["input"]
        while name != "output":
            node = graph.nodes[name]
            attrs = {k: torch.from_numpy(v).double() for k, v in vars(node).items() if isinstance(v, np.ndarray)}
            if isinstance(node, nir.Conv2d):
                value = functional.conv2d(value, attrs["weight"], attrs["bias"], padding=tuple(map(int, node.padding)))
            elif isinstance(node, nir.AvgPool2d):
                value = functional.avg_pool2d(value, tuple(map(int, node.kernel_size)), tuple(map(int, node.stride)))
            elif isinstance(node, nir.SumPool2d):
                window = tuple(map(int, node.kernel_size))
                value = functional.avg_pool2d(value, window, tuple(map(int, node.stride)), divisor_override=1)
            elif isinstance(node, nir.Flatten):
                value = value.flatten(1)
            elif isinstance(node, nir.Affine):
                value = functional.linear(value, attrs["weight"], attrs["bias"])
            else:
                if isinstance(node, nir.CubaLIF):
                    i = currents[name] + definition.DT * (attrs["w_in"] * value - currents[name]) / attrs["tau_syn"]
                    value = currents[name] = i
                change = (attrs["v_leak"] - state[name] + attrs["r"] * value) / attrs.get("tau", attrs.get("tau_mem"))
                v = state[name] + definition.DT * change
                value = (v > attrs["v_threshold"]).double()
                state[name] = torch.where(value > 0, attrs["v_reset"], v)
                spikes[name].append(value)
            name = follows[name]
    return [torch.stack(layer) for layer in spikes.values()]


@pytest.mark.parametrize("name", ["powers of two", "synaptic, averages after", "synaptic, sums after"])
def test_nirs_own_equations_give_the_same_spikes(name: str) -> None:
    graph = nir.read(nir_file("snntorch", name))
    layer_spikes = equations(graph, torch_input(name), network(name).config.time_steps)
    for layer, spikes in zip(network(name).config.graph.neurons, map(last, layer_spikes), strict=True):
        np.testing.assert_array_equal(spikes, expected(name)[f"{layer.name}.spikes"])


BEFORE = replace(SMALL, conv_channels=(4, 6), time_steps=12)
READERS = {
    "Norse": ("norse", False),
    "Norse, rounded as ours": ("norse", True),
    "Sinabs": ("sinabs", False),
    "SpikingJelly": ("spikingjelly", False),
}


@pytest.mark.parametrize("name", ["powers of two", "synaptic, sums after"])
def test_norses_own_rounding_gives_the_same_spikes(name: str, tmp_path: Path) -> None:
    """Not in general, but where no membrane is that close to its threshold."""
    config, program, path = network(name).config, PROGRAMS["norse"], tmp_path / "file.nir"
    nir_graph.write(path, config, network(name).tensors, program.target)
    layers = simulate(path, program, torch_input(name), config.time_steps)
    for layer, spikes in zip(config.graph.neurons, map(last, layers), strict=True):
        np.testing.assert_array_equal(spikes, expected(name)[f"{layer.name}.spikes"])


@pytest.mark.parametrize("reader", READERS)
def test_a_wrong_number_in_a_file_changes_spikes(reader: str, tmp_path: Path) -> None:
    program, like_ours = PROGRAMS[READERS[reader][0]], READERS[reader][1]
    tensors = drawn(BEFORE)

    def spikes(config: ModelConfig) -> list[torch.Tensor]:
        nir_graph.write(tmp_path / "file.nir", config, tensors, program.target)
        x = reference.inputs(config, data.load("mnist", (28, 28, 1)).test.images[:4])
        return simulate(tmp_path / "file.nir", program, x, config.time_steps, like_ours)

    right = spikes(BEFORE)
    for config in (replace(BEFORE, beta=0.75), replace(BEFORE, threshold=0.9)):
        assert any(not torch.equal(one, other) for one, other in zip(right, spikes(config), strict=True))


@pytest.mark.parametrize("program", [PROGRAMS["sinabs"], PROGRAMS["spikingjelly"]], ids=lambda one: one.title)
def test_a_membrane_at_the_threshold_does_not_spike_even_in_readers_that_use_at_least(
    program: Program, tmp_path: Path
) -> None:
    config = ModelConfig(
        input_shape=(1, 1, 2), conv_channels=(), hidden=(), num_classes=2, reset="zero", time_steps=1, threshold=0.5
    )
    above = np.nextafter(np.float32(0.5), np.float32(1))
    tensors = {"fc1.weight": np.eye(2, dtype=np.float32), "fc1.bias": np.zeros(2, np.float32)}
    path = tmp_path / "file.nir"
    nir_graph.write(path, config, tensors, program.target)
    (spikes,) = simulate(path, program, torch.tensor([0.5, above]).reshape(1, 2, 1, 1), 1)
    assert spikes.flatten().tolist() == [0.0, 1.0]
