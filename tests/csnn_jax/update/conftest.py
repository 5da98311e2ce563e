"""A network for the tests of a training step."""

from collections.abc import Callable

import jax.numpy as jnp
import pytest
from networks import Recipe, made

from csnn_jax.config import ModelConfig
from csnn_jax.network.model import CSNN, from_tensors


@pytest.fixture
def firing(x64) -> Callable[[ModelConfig], CSNN]:
    """`firing(config)` makes a float64 network on its grid in which every layer fires."""

    def make(config: ModelConfig) -> CSNN:
        one = made(Recipe(config), 1)
        assert all(0.01 < layer["spikes"].mean() < 0.9 for layer in one.layers.values())
        return from_tensors(config, one.tensors, jnp.float64)

    return make
