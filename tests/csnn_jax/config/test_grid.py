"""Weights on grids: equal in NumPy, JAX and torch, and summed exactly in any order a framework may use."""

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import lone_layer

from csnn_jax.config import Grid, ModelConfig
from csnn_jax.network import floats, layers

pytestmark = pytest.mark.numeric

GRIDS = {
    "first": Grid(9, 8, 2.0**-8),
    "second": Grid(288),
    "linear": Grid(3136),
    "averaged": Grid(288, added=2),
    "counts": Grid(50, 4),
    "on images": Grid(784, 8, 2.0**-8),
    "on many pixels": Grid(3072, 8, 2.0**-8),
    "8 bits": Grid(288, most=7),
    "4 bits, averaged": Grid(50, added=2, most=3),
    "3 bits": Grid(3136, most=2),
    "2 bits, first": Grid(9, 8, 2.0**-8, most=1),
}


def drawn(grid: Grid, seed: int, outputs: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of all magnitudes. Some biases determine the grid, and one neuron's weights are all 0."""
    rng = np.random.default_rng(seed)
    scale = np.ldexp(rng.uniform(0.5, 1, outputs), rng.integers(-70, 20, outputs)).astype(np.float32)
    kernel = rng.uniform(-1, 1, (grid.terms, outputs)).astype(np.float32) * scale
    bias = rng.normal(0, 1, outputs).astype(np.float32) * scale * rng.choice([0, 1, 1e4], outputs).astype(np.float32)
    kernel[:, 0] = 0
    kernel[:, 1] = scale[1]  # every weight at the maximum
    kernel[:, 2] = np.ldexp(np.float32(1), np.frexp(scale[2])[1])  # a power of two
    bias[2] = kernel[0, 2] * 8 * 2.0**grid.input_bits * grid.input_step  # at its bound
    return kernel, bias


def rounded(grid: Grid, kernel: np.ndarray, bias: np.ndarray, xp: ModuleType = np) -> tuple[np.ndarray, np.ndarray]:
    to: Any = torch.tensor if xp is torch else np.asarray if xp is np else jnp.asarray
    parameters = grid.round(to(kernel), to(bias), xp)
    return np.asarray(parameters[0]), np.asarray(parameters[1])


def test_bits_follow_from_the_shape():
    """11, 15, 12 and 14 for the default network, as in design.md."""
    assert [node.grid.bits for node in ModelConfig().graph.weighted] == [11, 15, 12, 14]
    assert [node.grid.bits for node in ModelConfig(weight_bits=8).graph.weighted] == [7] * 4
    dense = ModelConfig(conv_channels=(), weight_bits=8)
    assert [node.grid.bits for node in dense.graph.weighted] == [6, 7]
    pixels = ModelConfig(input_shape=(64, 60, 1), conv_channels=(), weight_bits=8)
    assert pixels.graph.weighted[0].grid.bits == 4
    assert Grid(9, added=2).bits == 17


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, np.float32) for name in GRIDS), ("first", np.float64), ("3 bits", np.float64)]
)
def test_all_frameworks_find_the_same_grid_and_rounding_is_idempotent(name, kind):
    grid = GRIDS[name]
    jitted = jax.jit(lambda *values: grid.round(*values, floats))
    for seed in range(4):
        kernel, bias = (values.astype(kind) for values in drawn(grid, seed))
        once = rounded(grid, kernel, bias)
        with jax.enable_x64(kind is np.float64):
            others = [
                rounded(grid, kernel, bias, torch),
                jitted(kernel, bias),
                rounded(grid, *once),
            ]
            for other in others:
                for a, b in zip(once, other, strict=True):
                    assert a.dtype == b.dtype == kind
                    np.testing.assert_array_equal(a, np.asarray(b))
        by_bias = abs(bias) / (8 * 2.0**grid.input_bits * grid.input_step)
        largest = np.maximum.reduce([abs(kernel).max(0), by_bias, np.full_like(bias, 2.0**-61)])
        assert (abs(once[0] - kernel) <= largest * 2.0 ** (1 - grid.bits)).all()


@pytest.mark.parametrize("grid", [grid for grid in GRIDS.values() if grid.chosen], ids=str)
def test_the_largest_of_two_exponents_with_equal_errors_is_chosen(grid):
    """A step of 2^-bits misses the second weight by half a step; half that step misses the first weight as much."""
    kernel = np.array([[0.5], [2.0 ** (-1 - grid.bits)]], np.float32)
    assert grid.choose(kernel, np.zeros(1, np.float32)) == [0]


@pytest.mark.parametrize("powers", [(-30, 20), (-50, -40), (60, 90)], ids=str)
@pytest.mark.parametrize("grid", [grid for grid in GRIDS.values() if grid.chosen], ids=str)
def test_exponents_minimize_the_squared_error(grid, powers):
    """The best of four, by hand in float64; equal in all frameworks, and the grid is coarse enough for the bias."""
    rng = np.random.default_rng(7)
    sizes = np.ldexp(np.float32(1), rng.integers(*powers, 40))
    kernel = (rng.normal(size=(grid.terms, 40)) ** 3).astype(np.float32) * sizes
    bias = rng.normal(size=40).astype(np.float32) * sizes * rng.choice([0, 0, 1e4], 40).astype(np.float32)
    chosen = grid.choose(kernel, bias)
    others = (
        jax.jit(lambda *values: grid.choose(*values, floats, jnp.sum))(kernel, bias),
        grid.choose(torch.tensor(kernel), torch.tensor(bias), torch, torch.sum),
    )
    assert all(np.array_equal(chosen, np.asarray(other)) for other in others)
    top = np.maximum(np.frexp(abs(kernel).max(0))[1], -60)
    errors = []
    for lower in range(4):
        step = np.ldexp(1.0, top - lower - grid.bits)
        units = np.clip(np.rint(kernel / step), 1 - 2**grid.bits, 2**grid.bits - 1)
        errors.append(((units * step - kernel) ** 2).sum(0))
    free = np.flatnonzero(bias == 0)
    assert (top - np.argmin(errors, 0))[free].tolist() == chosen[free].tolist() and (chosen < top)[free].any()
    weights, biases = grid.round(kernel, bias, exponents=chosen)
    assert (abs(biases - bias) <= np.ldexp(1.0, chosen - grid.bits) * grid.input_step).all()
    assert len(np.unique(weights[:, free[-1]])) <= 2 ** (grid.bits + 1) - 1
    again = grid.round(weights, biases, exponents=chosen)
    assert np.array_equal(again[0], weights) and np.array_equal(again[1], biases)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_the_largest_weights_keep_currents_below_2_to_the_50th(grid):
    weight, bias = grid.below
    kernel = np.full((grid.terms, 1), weight * (1 - 2.0**-24), np.float32)
    rounded = grid.round(kernel, np.full(1, bias * (1 - 2.0**-24), np.float32))
    assert all(np.isfinite(values).all() and (values > 0).all() for values in rounded)
    product = weight * 2.0**grid.input_bits * grid.input_step
    assert (grid.terms * product + bias) * 2.0**grid.added <= 2.0**50


def test_a_membrane_stops_growing_at_2_to_the_24th_times_its_current():
    """So membranes stay below 2^75, and those behind a synaptic current below 2^99."""
    largest = np.float32(2.0**50)
    for share in (1, 0.75, 2 / 3, 0.5):
        current, membrane = np.float32(share) * largest, largest * np.float32(2.0**24 - 100)
        for _ in range(1000):
            membrane = membrane + current
        assert membrane <= np.float32(2.0**74) and membrane + current == membrane


@settings(max_examples=200, deadline=None)
@given(st.integers(-60, 60), st.integers(0, 2**24 - 1), st.integers(-30, 30), st.integers(0, 2**24 - 1))
def test_rounding_is_idempotent_at_powers_of_two(exponent, weight, more, bias):
    """Otherwise a weight that rounds up to the next power of two would get a coarser grid the second time."""
    for grid in GRIDS.values():
        kernel = np.ldexp(np.float32(2**24 - weight % 9), exponent - 24) * np.ones((3, 1), np.float32)
        offset = np.ldexp(np.float32(2**24 - bias % 9), exponent + more - 24) * np.ones(1, np.float32)
        once = grid.round(kernel, offset)
        twice = grid.round(*once)
        assert (once[0] == twice[0]).all() and (once[1] == twice[1]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("xp", [np, jnp, floats, torch], ids=lambda xp: xp.__name__)
def test_nonfinite_values_stay_nonfinite(value, xp):
    kernel, bias = np.ones((3, 2), np.float32), np.zeros(2, np.float32)
    kernel[1, 0] = bias[1] = value
    weights, biases = rounded(Grid(3), kernel, bias, xp)
    assert np.isnan(weights[1, 0]) and np.isnan(biases[1]) and np.isfinite(biases[0])


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_sums_at_the_bound_are_exact_in_any_order(grid):
    """Weights up to the maximum, inputs of at least half the maximum: in order, shuffled, in blocks, and fused."""
    rng = np.random.default_rng(0)
    kernel, bias = rounded(grid, *drawn(grid, 1))
    kernel[:, 3:] = abs(kernel[:, 3:])
    inputs = rng.choice([0.5, 1.0], grid.terms) * 2.0**grid.input_bits
    inputs = (np.rint(inputs) * grid.input_step).astype(np.float32)
    true = inputs.astype(np.float64) @ kernel + bias
    for order in (np.arange(grid.terms), rng.permutation(grid.terms), rng.permutation(grid.terms)):
        products = inputs[order, None] * kernel[order]
        assert (products == inputs[order, None].astype(np.float64) * kernel[order]).all()
        blocks = np.add.reduce([products[start::7].cumsum(0, dtype=np.float32)[-1:].sum(0) for start in range(7)])
        fused = bias.copy()
        for one, weights in zip(inputs[order], kernel[order], strict=True):  # rounded once, like an FMA
            fused = (fused.astype(np.float64) + one.astype(np.float64) * weights).astype(np.float32)
        for total in (products.cumsum(0, dtype=np.float32)[-1] + bias, blocks + bias, fused):
            assert (total == true.astype(np.float32)).all() and (total.astype(np.float64) == true).all()
        if grid.added:
            four = total + total + total + total
            assert (four.astype(np.float64) == 4 * true).all()


LAYERS = {
    "kernel 3": lone_layer("conv1", "conv", (12, 10, 6), 20, 3, 1, 1),
    "kernel 5, bytes": lone_layer("conv1", "conv", (12, 10, 3), 20, 5, 1, 2, input_bits=8, input_step=2.0**-8),
    "kernel 7": lone_layer("conv1", "conv", (12, 10, 33), 20, 7, 1, 3),
    "linear": lone_layer("fc1", "linear", (3136,), 40),
    "linear, bytes": lone_layer("fc1", "linear", (784,), 40, input_bits=8, input_step=2.0**-8),
}


@pytest.mark.parametrize("stage", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("batch", [16, 33])
@pytest.mark.parametrize("dense", [0.05, 1.0])
def test_layers_of_every_framework_are_exact(stage, batch, dense):
    """XLA's and torch's products against float64, some at the bound; both layouts, batches of at least 16.

    With 16 images or more, torch without oneDNN may use NNPACK's Winograd transform, which isn't exact.
    """
    rng = np.random.default_rng(batch)
    node, grid = stage.weights, stage.weights.grid
    padding = stage.convolution.padding if stage.convolution else 0
    kernel = rng.uniform(-1, 1, node.kernel_shape).astype(np.float32)
    bias = rng.uniform(-1, 1, node.channels).astype(np.float32)
    largest = 2.0**grid.input_bits * grid.input_step
    kernel[..., :4], bias[:4] = np.nextafter(np.float32(1), np.float32(0)), 7.99 * largest
    kernel[..., 4:8] = -kernel[..., :4]
    kernel, bias = grid.round(kernel, bias)
    values = rng.integers(1, 2**grid.input_bits + 1, (batch, *stage.direct.shape)) * grid.input_step
    values[0] = largest
    x = (values * (rng.random(values.shape) < dense)).astype(np.float32)
    linear = stage.convolution is None

    def ours(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
        return (layers.matmul(x, kernel) if linear else layers.conv(x, kernel, 1, padding)) + bias

    with jax.enable_x64(True):
        true = np.asarray(ours(*map(jnp.float64, (x, kernel, bias))))
    assert abs(true).max() < 2.0**24 * grid.input_step
    np.testing.assert_array_equal(np.asarray(jax.jit(ours)(x, kernel, bias)), true)
    weight, images = (torch.tensor(np.moveaxis(a, -1, to)) for a, to in ((kernel, 0), (x, 1)))
    if not linear:
        weight = weight.movedim(-1, 1).contiguous()
    for layout in (torch.contiguous_format,) if linear else (torch.contiguous_format, torch.channels_last):
        given = images.contiguous(memory_format=layout), weight.contiguous(memory_format=layout), torch.tensor(bias)
        theirs = F.linear(*given) if linear else F.conv2d(*given, padding=padding)
        np.testing.assert_array_equal(theirs.movedim(1, -1).numpy(), true)
