"""NIR files, read back by nir and snnTorch's importer. benchmarks/targets/run_nir104.py does so with nir 1.0.4."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
import torch
from bundles import drawn
from torch.nn import functional

from csnn_jax import data
from csnn_jax.config import ModelConfig
from export import reference
from export.graphs import nir_graph
from export.parts import nir as part

pytestmark = pytest.mark.numeric

SMALL = ModelConfig(conv_channels=(8, 16), hidden=(32,), pool="avg", reset="zero", time_steps=20)
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
}

# What the constructors of nir 1.0.4 take; a file may hold no other field of a node, for they refuse it.
FIELDS_104 = {
    "Input": {"shape"},
    "Output": {"shape"},
    "Conv2d": {"input_shape", "weight", "stride", "padding", "dilation", "groups", "bias"},
    "AvgPool2d": {"kernel_size", "stride", "padding"},
    "Flatten": {"input_type", "start_dim", "end_dim"},
    "Affine": {"weight", "bias"},
    "LIF": {"tau", "r", "v_leak", "v_threshold"},
}


def inputs(config: ModelConfig) -> torch.Tensor:
    images = data.load("mnist", (28, 28, 1)).test.images[:4]
    height, width, channels = config.input_shape
    images = np.pad(images, [(0, 0), (0, max(0, height - 28)), (0, max(0, width - 28)), (0, 0)])
    return reference.inputs(config, np.repeat(images, channels, axis=-1))


def equations(graph: nir.NIRGraph, x: torch.Tensor, time_steps: int) -> list[torch.Tensor]:
    """Spikes of every layer by NIR's own equations, in float64 and with Euler's method: no reader's code in it."""
    state = {name: torch.tensor(0.0) for name in graph.nodes}
    spikes: dict[str, list[torch.Tensor]] = {
        name: [] for name, node in graph.nodes.items() if isinstance(node, nir.LIF)
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
            elif isinstance(node, nir.Flatten):
                value = value.flatten(1)
            elif isinstance(node, nir.Affine):
                value = functional.linear(value, found["weight"], found["bias"])
            else:
                assert isinstance(node, nir.LIF)
                change = (found["v_leak"] - state[name] + found["r"] * value) / found["tau"]
                v = state[name] + nir_graph.DT * change
                value = (v > found["v_threshold"]).double()
                state[name] = torch.where(value > 0, found["v_reset"], v)
                spikes[name].append(value)
            name = follows[name]
    return [torch.stack(layer) for layer in spikes.values()]


@pytest.mark.parametrize("config", STACKS.values(), ids=STACKS)
def test_reader_gives_the_same_spikes(config: ModelConfig, tmp_path: Path) -> None:
    tensors, x = drawn(config), inputs(config)
    path = tmp_path / "network.nir"
    part.write_file(path, config, tensors, legacy=config is SMALL)
    found = part.run(nir.read(path), x, config.time_steps)
    expected = reference.trace(reference.Step(config, tensors), x, config.time_steps).spikes
    for ours, theirs in zip(expected, found, strict=True):
        assert 0.01 < ours.mean() < 0.9
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("config", [SMALL, STACKS["learnt"]], ids=["default neurons", "learnt"])
def test_nirs_own_equations_give_the_same_spikes(config: ModelConfig, tmp_path: Path) -> None:
    tensors, x = drawn(config), inputs(config)
    path = tmp_path / "network.nir"
    part.write_file(path, config, tensors)
    found = equations(nir.read(path), x, config.time_steps)
    expected = reference.trace(reference.Step(config, tensors), x, config.time_steps).spikes
    assert [int((a != b).sum()) for a, b in zip(expected, found, strict=True)] == [0] * len(expected)


@pytest.mark.parametrize("legacy", [False, True])
def test_layout_of_the_file(legacy: bool, tmp_path: Path) -> None:
    path, again = tmp_path / "network.nir", tmp_path / "again.nir"
    part.write_file(path, SMALL, drawn(SMALL), legacy)
    part.write_file(again, SMALL, drawn(SMALL), legacy)
    assert path.read_bytes() == again.read_bytes()
    with h5py.File(path) as file:
        assert file["version"][()].decode() == ("1.0.4" if legacy else nir.version)
        names = list(file["node/nodes"])
        edges = [(a.decode(), b.decode()) for a, b in file["node/edges"][()]]
        assert edges == list(pairwise(names))  # sorted as they follow each other
        for name, node in file["node/nodes"].items():
            kind = node["type"][()].decode()
            extra = {"v_reset"} if kind == "LIF" and not legacy else set()
            assert set(node) - {"type", "metadata"} == FIELDS_104[kind] | extra, name
            floats = set(node) & {"weight", "bias", "tau", "r", "v_leak", "v_threshold", "v_reset"}
            assert all(node[field].dtype == np.float32 for field in floats), name
            pairs = set(node) & {"kernel_size", "stride", "padding", "dilation"}
            assert all(node[field].shape == (2,) for field in pairs), name
        for number, shape in enumerate(reference.state_shapes(SMALL).values(), 1):
            assert file[f"node/nodes/layer{number}_spikes/tau"].shape == shape
