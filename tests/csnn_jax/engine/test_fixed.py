"""Sums in a fixed order, against float64. test_repeatable.py checks that their bits are the same on every machine."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csnn_jax.config import ModelConfig
from csnn_jax.engine import fixed
from csnn_jax.engine.plan import stages
from csnn_jax.network.library import Jax
from csnn_jax.network.model import CSNN
from csnn_jax.window import constants

pytestmark = pytest.mark.numeric


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(1, 100, shape).astype(np.float32)


@pytest.mark.parametrize("shape, axis", [((), None), ((7,), None), ((3, 50_000), None), ((5, 4, 3), 1), ((6, 9), -1)])
def test_sums_equal_float64_rounded_once(shape, axis):
    x = numbers(*shape)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def squared(x):
        sums = fixed.add_up(x, axis)
        return (sums**2).sum(), sums

    (found, sums), gradient = squared(x)
    exact = x.sum(axis, dtype=np.float64)
    assert np.array_equal(sums, exact.astype(np.float32))
    assert np.isclose(found, (exact**2).sum(), rtol=1e-6)
    wanted = 2 * (exact if axis is None else np.expand_dims(exact, axis))
    assert gradient.shape == shape and np.allclose(gradient, np.broadcast_to(wanted, shape), rtol=1e-6)


@pytest.mark.parametrize("rows, inner, columns", [(1, 1, 1), (61, 300, 70), (130, 5, 64)])
def test_products_are_close_to_float64(rows, inner, columns):
    left, right = numbers(rows, inner), numbers(inner, columns)
    exact, most = left.astype(np.float64) @ right.astype(np.float64), np.abs(left) @ np.abs(right)
    assert np.all(np.abs(jax.jit(fixed.multiply)(left, right) - exact) <= 1e-6 * most)


STACKS = {
    "max pool": {"conv_channels": (16,), "pool": "max"},
    "avg pool": {"conv_channels": (16,), "pool": "avg", "kernel_size": 5},
    "no pool": {"conv_channels": (16,), "pool": "none", "padding": "valid"},
    "linear": {"conv_channels": (), "hidden": (16,)},
}


@pytest.mark.parametrize("stack", STACKS)
def test_the_first_current_and_its_gradients_match_the_block(stack, x64):
    config = ModelConfig(input_shape=(9, 8, 3), **({"hidden": ()} | STACKS[stack]))
    own = jax.jit(lambda: CSNN(config, dtype=jnp.float64))().nodes[0]
    (stage, *_), rng = stages(config.graph), np.random.default_rng(0)
    image, weight = rng.integers(0, 256, (5, 9, 8, 3)) / 256, rng.normal(size=(5, *stage.shape))
    rounded = stage.weights.grid.round(np.asarray(own.kernel[...], np.float32), np.asarray(own.biases, np.float32))

    def ours(image, kernel, bias):
        return (fixed.image_current(image, kernel, bias, stage).reshape(weight.shape) * weight).sum()

    def current(image, kernel, bias):
        replaced = nnx.merge(*nnx.split(own))
        replaced.kernel, replaced.bias = nnx.Param(kernel), nnx.Param(bias)
        library = Jax(config.graph, [replaced])
        known = constants(config.graph, library, library.parameters, image)
        return known[config.graph.source(config.graph.neurons[0]).name]

    def its(image, kernel, bias):
        return (current(image, kernel, bias) * weight).sum()

    single = [jnp.asarray(value, jnp.float32) for value in (image, *rounded)]
    double = [jnp.asarray(value, jnp.float64) for value in (image, *rounded)]
    exactly = jax.jit(current)(*double).reshape(5, -1)
    assert np.array_equal(jax.jit(fixed.image_current, static_argnums=3)(*single, stage), exactly)
    found, exact = (jax.jit(jax.grad(of, (0, 1, 2)))(*values) for of, values in ((ours, single), (its, double)))
    for one, other in zip(found, exact, strict=True):
        assert np.allclose(one, other, rtol=1e-5, atol=1e-5)
