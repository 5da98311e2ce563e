"""Weights of several layers whose products meet in a sum: exact in any order, and equal in NumPy, JAX and torch."""

import math
from typing import Any

import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_grids import grouped
from reference_nodes import built
from reference_settings import settings_of

from csnn_jax import NodeConfig as Node
from csnn_jax.config import ModelConfig
from csnn_jax.config.grid import Group
from csnn_jax.network import floats

pytestmark = pytest.mark.numeric
FLAT = Node("flat", "flatten", "image")
ENDS = (Node("out", "linear", "lif", channels=3), Node("last", "leaky", "out"))
FLATTENED = (Node("features", "flatten", "lif"), Node("out", "linear", "features", channels=3), ENDS[1])
CONV = Node("conv", "convolution", "image", channels=4, kernel=3)
NETWORKS = {
    "recurrent": (
        FLAT,
        Node("fc", "linear", "flat", channels=6),
        Node("rec", "linear", "lif@1", channels=6, bias=False),
        Node("lif", "leaky", ("fc", "rec")),
        *ENDS,
    ),
    "one weight each": (
        FLAT,
        Node("fc", "linear", "flat", channels=6),
        Node("rec", "one_to_one", "lif@1", channels=6, bias=True),
        Node("lif", "leaky", ("fc", "rec")),
        *ENDS,
    ),
    "two pools of one convolution": (
        CONV,
        Node("largest", "max_pool", "conv"),
        Node("mean", "avg_pool", "conv"),
        Node("lif", "leaky", ("mean", "largest")),
        *FLATTENED,
    ),
    "one convolution twice": (CONV, Node("lif", "leaky", ("conv", "conv@1")), *FLATTENED),
    # Up to three spikes enter three, and averages of two with up to two spikes enter wide.
    "residual": (
        CONV,
        Node("a", "leaky", "conv"),
        Node("next", "convolution", "a", channels=4, kernel=3, padding=1),
        Node("b", "leaky", "next"),
        Node("three", "convolution", ("a", "b", "a@2"), channels=4, kernel=3, padding=1),
        Node("mean", "avg_pool", ("three", "three@1")),
        Node("half", "avg_pool", ("a", "b")),
        Node("small", "max_pool", ("b", "b@1")),
        Node("wide", "convolution", ("half", "small", "half@3"), channels=4, kernel=1),
        Node("lif", "leaky", ("mean", "wide", "wide@2")),
        *FLATTENED,
    ),
    "branches": (
        CONV,
        Node("mean", "avg_pool", "conv"),
        Node("wide", "convolution", "image", channels=4, kernel=5, padding=1),
        Node("sum", "sum_pool", "wide"),
        Node("lif", "leaky", ("mean", "sum")),
        *FLATTENED,
    ),
    # conv meets wide in one sum, and wide meets third in another
    "through others": (
        CONV,
        Node("wide", "convolution", "image", channels=4, kernel=5, padding=1),
        Node("third", "convolution", "first", channels=4, kernel=1),
        Node("first", "leaky", ("conv", "wide")),
        Node("lif", "leaky", ("wide", "third")),
        *FLATTENED,
    ),
}


def config(name: str, bits: int | None, side: int = 8) -> ModelConfig:
    return ModelConfig((side, side, 2), network=NETWORKS[name], weight_bits=bits, time_steps=3)


def drawn(group: Group, shapes: list[tuple[int, ...]], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of all magnitudes: some at their limits, some 0, some of one layer far above the others'."""
    rng = np.random.default_rng(seed)
    layers = []
    for grid, shape in zip(group.grids, shapes, strict=True):
        out = shape[-1]
        scale = np.ldexp(rng.uniform(0.5, 1, out), rng.choice([-62, -9, -2, 0, 1, 14], out)).astype(np.float32)
        kernel = rng.choice([-1, -0.3, 0, 0.01, 0.7, 1], shape).astype(np.float32) * scale
        if rng.random() < 0.5:
            kernel = np.broadcast_to(np.nextafter(np.exp2(np.ceil(np.log2(scale))), np.float32(0)), shape).copy()
        power = np.exp2(np.ceil(np.log2(scale)))
        size = power * 8 * 2.0**grid.input_bits * grid.input_step
        bias = (size * rng.choice([0, 0.1, 0.999999, 1 - 2.0**-24, 30], out)).astype(np.float32)
        layers.append((kernel, bias))
    return layers


CASES = [(name, bits) for name in NETWORKS for bits in (None, 3, 6, 8)]


def parts(name: str, bits: int | None) -> Any:
    """The configuration, the names of the layers that meet, their group and the shapes of their weights."""
    made = config(name, bits)
    several = ((names, group) for names, group in made.graph.groups.items() if "out" not in names)
    names, group = max(several, key=lambda one: len(one[0]))
    return made, names, group, [node.kernel_shape for node in made.graph.weighted if node.name in names]


@pytest.mark.parametrize(("name", "bits"), CASES)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_sums_are_exact_in_any_order_and_rounding_is_idempotent(name: str, bits: int | None, seed: int) -> None:
    made, names, group, shapes = parts(name, bits)
    layers = drawn(group, shapes, seed)
    exponents = [
        grid.choose(*layer).astype(np.int32) if grid.chosen else None
        for grid, layer in zip(group.grids, layers, strict=True)
    ]
    once = group.round(layers, exponents=exponents)
    for (kernel, bias), (again, same) in zip(once, group.round(once, exponents=exponents), strict=True):
        np.testing.assert_array_equal(kernel, again)
        np.testing.assert_array_equal(bias, same)
    rng = np.random.default_rng(seed)
    nodes = built([node.described() for node in NETWORKS[name]], settings_of(made))
    (theirs,) = (one for one in grouped(nodes) if {node.name for node in one.members} == {*names})
    by_name = dict(zip(names, zip(group.grids, once, strict=True), strict=True))
    for terms in theirs.sums:
        for channel in range(shapes[0][-1]):
            values = []
            for member, added, divided in terms:
                grid, (kernel, bias) = by_name[member]
                weights = kernel.reshape(-1, kernel.shape[-1])[:, channel]
                largest = 2.0**grid.input_bits
                entering = rng.choice([largest, 1, 0], len(weights), p=[0.9, 0.05, 0.05]) * grid.input_step
                values += [np.append(weights * entering, bias[channel]) * 2.0**-divided] * 2**added
            check_sum(np.concatenate(values).astype(np.float32), rng)


def check_sum(values: np.ndarray, rng: np.random.Generator) -> None:
    """Checks that float32 represents all partial sums: multiples of the values' unit, at most 2^24 of them."""
    mantissa, exponent = np.frexp(values[values != 0])
    whole = np.ldexp(mantissa, 24).astype(np.int64)
    units = exponent - 24 + np.log2(whole & -whole).astype(int)
    assert not len(units) or math.fsum(abs(values)) <= 2.0 ** (24 + units.min())
    shuffled = rng.permutation(values)
    assert np.cumsum(shuffled, dtype=np.float32)[-1] == math.fsum(values)


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_all_frameworks_find_the_same_grids(name: str, bits: int | None) -> None:
    _, _, group, shapes = parts(name, bits)
    jitted = jax.jit(lambda layers, exponents: group.round(layers, floats, exponents))
    for seed in range(3):
        layers = drawn(group, shapes, seed)
        exponents = [
            grid.choose(*layer).astype(np.int32) if grid.chosen else None
            for grid, layer in zip(group.grids, layers, strict=True)
        ]
        once = group.round(layers, exponents=exponents)
        in_torch = group.round(
            [(torch.tensor(kernel), torch.tensor(bias)) for kernel, bias in layers],
            torch,
            [one if one is None else torch.tensor(one) for one in exponents],
        )
        for other in (jitted(layers, exponents), in_torch):
            for expected, values in zip(once, other, strict=True):
                for one, same in zip(expected, values, strict=True):
                    np.testing.assert_array_equal(one, np.asarray(same))
