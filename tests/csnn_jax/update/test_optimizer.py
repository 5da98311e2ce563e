"""The optimizer: equal to optax's aliases, with its parts in the right order."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from csnn_jax.config import ModelConfig, TrainConfig
from csnn_jax.network.model import CSNN
from csnn_jax.update import optimizer

CONFIG = ModelConfig(input_shape=(4, 4, 1), conv_channels=(2,), hidden=(), num_classes=3, learn_beta=True)
RATE = 0.1


@pytest.fixture
def params(x64):
    return nnx.state(CSNN(CONFIG, 3, dtype=jnp.float64))


def gradient(params, step):
    return jax.tree.map(lambda p: jnp.cos(7 * p + step) / 3, params)


def updates(made, params, rate):
    """The parameters after some updates."""

    @jax.jit
    def step(params, state, number):
        update, state = made.update(gradient(params, number), state, params)
        return optax.apply_updates(params, jax.tree.map(lambda u: u * rate, update)), state

    state = made.init(params)
    for number in range(4):
        params, state = step(params, state, number)
    return params


def assert_close(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({}, lambda kernels: optax.adam(RATE)),
        ({"optimizer": "adamw"}, lambda kernels: optax.adamw(RATE, weight_decay=0.01, mask=kernels)),
        ({"optimizer": "sgd"}, lambda kernels: optax.sgd(RATE)),
        ({"optimizer": "sgd", "momentum": 0.8}, lambda kernels: optax.sgd(RATE, 0.8)),
        ({"clip_norm": 0.3}, lambda kernels: optax.chain(optax.clip_by_global_norm(0.3), optax.adam(RATE))),
        (
            {"weight_decay": 0.4, "clip_norm": 0.3},
            lambda kernels: optax.chain(
                optax.clip_by_global_norm(0.3), optax.add_decayed_weights(0.4, kernels), optax.adam(RATE)
            ),
        ),
    ],
    ids=["adam", "adamw", "sgd", "sgd, momentum", "clipping", "clipping and L2"],
)
def test_updates_match_optax(changes, reference, params):
    kernels = jax.tree.map(lambda p: p.ndim > 1, params)
    updated = updates(optimizer.make(TrainConfig(**changes)), params, RATE)
    assert_close(updated, updates(reference(kernels), params, 1.0))
    if changes:
        plain = updates(optimizer.make(TrainConfig()), params, RATE)
        assert max(abs(np.asarray(a) - b).max() for a, b in _pairs(updated, plain)) > 1e-4


def test_decay_applies_only_to_kernels(params):
    zeros = jax.tree.map(np.zeros_like, params)
    changed, _ = optimizer.with_decayed_weights(0.5).update(zeros, optax.EmptyState(), params)
    assert {p.shape for p, change in _pairs(params, changed) if change.any()} == {(3, 3, 1, 2), (8, 3)}
    assert {p.shape for p, change in _pairs(params, changed) if not change.any()} == {(2,), (3,), ()}


def _pairs(*trees):
    return list(zip(*map(jax.tree.leaves, trees), strict=True))
