"""network.nir means what NIR defines; tests/test_matrix.py runs it in snnTorch's importer."""

import nir
import numpy as np
import pytest
import torch
from backends import expected, last, nir_file, torch_input
from networks import network
from torch.nn import functional

from csnn_torch.programs import definition
from export import reference

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
            found = {k: torch.from_numpy(v).double() for k, v in vars(node).items() if isinstance(v, np.ndarray)}
            if isinstance(node, nir.Conv2d):
                value = functional.conv2d(value, found["weight"], found["bias"], padding=tuple(map(int, node.padding)))
            elif isinstance(node, nir.AvgPool2d):
                value = functional.avg_pool2d(value, tuple(map(int, node.kernel_size)), tuple(map(int, node.stride)))
            elif isinstance(node, nir.SumPool2d):
                window = tuple(map(int, node.kernel_size))
                value = functional.avg_pool2d(value, window, tuple(map(int, node.stride)), divisor_override=1)
            elif isinstance(node, nir.Flatten):
                value = value.flatten(1)
            elif isinstance(node, nir.Affine):
                value = functional.linear(value, found["weight"], found["bias"])
            else:
                if isinstance(node, nir.CubaLIF):
                    i = currents[name] + definition.DT * (found["w_in"] * value - currents[name]) / found["tau_syn"]
                    value = currents[name] = i
                change = (found["v_leak"] - state[name] + found["r"] * value) / found.get("tau", found.get("tau_mem"))
                v = state[name] + definition.DT * change
                value = (v > found["v_threshold"]).double()
                state[name] = torch.where(value > 0, found["v_reset"], v)
                spikes[name].append(value)
            name = follows[name]
    return [torch.stack(layer) for layer in spikes.values()]


@pytest.mark.parametrize("name", ["powers of two", "synaptic, averages after", "synaptic, sums after"])
def test_nirs_own_equations_give_the_same_spikes(name: str) -> None:
    graph = nir.read(nir_file("snntorch", name))
    found = equations(graph, torch_input(name), network(name).config.time_steps)
    for layer, spikes in zip(network(name).config.graph.weighted, map(last, found), strict=True):
        np.testing.assert_array_equal(spikes, expected(name)[f"{layer.name}.spikes"])
