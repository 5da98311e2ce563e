"""network.nir is read back with nir and snnTorch's importer."""

from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from bundles import drawn
from torch.nn import functional

from csnn_jax import data
from csnn_jax.config import ModelConfig
from export import reference
from export.graphs import nir_dialect, nir_graph
from export.parts import nir as part

pytestmark = pytest.mark.numeric

SMALL = ModelConfig(conv_channels=(8, 16), hidden=(32,), pool="avg", reset="zero", time_steps=20)
AFTER = replace(SMALL, pool="sum", pool_after=True)
SYNAPTIC = replace(AFTER, neuron="synaptic", reset="clear", alpha=0.75)
STACKS = {
    "two conv": SMALL,
    "linear only": replace(SMALL, conv_channels=(), pool="max"),
    "one conv, no hidden": replace(SMALL, conv_channels=(8,), hidden=(), threshold=0.7),
    "three conv, colour, odd sizes": replace(
        SMALL, conv_channels=(4, 8, 8), hidden=(32, 16), input_shape=(34, 30, 3), kernel_size=5
    ),
    "no padding, a stride, no pool, no bias": replace(
        SMALL, kernel_size=(5, 4), padding="valid", stride=(1, 2), pool=("avg", "none"), bias=False
    ),
    "ten layers": replace(SMALL, conv_channels=(4,), hidden=(24,) * 8, time_steps=10, threshold=0.5),
    "awkward betas": replace(SMALL, beta=(0.0, 0.4, 1.0, 0.9)),
    "learnt": replace(SMALL, learn_beta=True, learn_threshold=True),
    "rate encoding": replace(SMALL, encoding="rate"),
    "averages after": replace(SMALL, pool_after=True, pool_size=(4, 2)),
    "sums after": AFTER,
    "sums before": replace(SMALL, pool="sum"),
    "synaptic": SYNAPTIC,
    "awkward synaptic": replace(SYNAPTIC, alpha=(0.0, 0.4, 0.9, 1.0), beta=(0.9, 0.4, 0.0, 0.7)),
}


def inputs(config: ModelConfig) -> torch.Tensor:
    images = data.load("mnist", (28, 28, 1)).test.images[:4]
    height, width, channels = config.input_shape
    images = np.pad(images, [(0, 0), (0, max(0, height - 28)), (0, max(0, width - 28)), (0, 0)])
    return reference.inputs(config, np.repeat(images, channels, axis=-1))


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
                    i = currents[name] + nir_dialect.DT * (found["w_in"] * value - currents[name]) / found["tau_syn"]
                    value = currents[name] = i
                change = (found["v_leak"] - state[name] + found["r"] * value) / found.get("tau", found.get("tau_mem"))
                v = state[name] + nir_dialect.DT * change
                value = (v > found["v_threshold"]).double()
                state[name] = torch.where(value > 0, found["v_reset"], v)
                spikes[name].append(value)
            name = follows[name]
    return [torch.stack(layer) for layer in spikes.values()]


@pytest.mark.parametrize("config", STACKS.values(), ids=STACKS)
def test_the_importer_gives_the_same_spikes(config: ModelConfig, tmp_path: Path) -> None:
    tensors, x = drawn(config), inputs(config)
    path = tmp_path / "network.nir"
    nir_graph.write(path, config, tensors)
    found = part.run(nir_graph.read(path), x, config.time_steps)
    expected = reference.trace(reference.Step(config, tensors), x, config.time_steps).spikes
    for ours, theirs in zip(expected, found, strict=True):
        assert 0.01 < ours.mean() < 0.9
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["learnt", "averages after", "sums after", "synaptic"])
def test_nirs_own_equations_give_the_same_spikes(name: str, tmp_path: Path) -> None:
    config = STACKS[name]
    tensors, x = drawn(config), inputs(config)
    path = tmp_path / "network.nir"
    nir_graph.write(path, config, tensors)
    found = equations(nir.read(path), x, config.time_steps)
    expected = reference.trace(reference.Step(config, tensors), x, config.time_steps).spikes
    assert [int((a != b).sum()) for a, b in zip(expected, found, strict=True)] == [0] * len(expected)
