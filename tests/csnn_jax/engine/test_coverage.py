"""The event engine names what it doesn't support."""

import re

import jax.numpy as jnp
import pytest

from csnn_jax.config import ModelConfig
from csnn_jax.engine import event
from csnn_jax.engine.coverage import unsupported
from csnn_jax.engine.library import Unsupported
from csnn_jax.network.model import CSNN

REFUSED = [
    (dict(kernel_size=9), "supports kernels of up to 7 pixels, but conv1 has 9"),
    (dict(conv_channels=(8000, 1), hidden=()), "sums at most 65,535 inputs, but conv2 has 8000 channels"),
    (dict(pool="sum"), "doesn't support sum pooling, as in conv1"),
    (dict(pool_size=(2, 7)), "supports 2x2 pooling or none, but conv2 has 7x7 max"),
    (dict(pool_after=True), "only pools before the neurons; --pool-after needs --engine scan"),
    (dict(stride=(1, 2)), "supports stride 1, but conv2 has stride 2"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_an_unsupported_geometry_is_refused(changes, reason):
    model = CSNN(ModelConfig(**changes))
    assert unsupported(model) == f"the event engine {reason}"
    with pytest.raises(Unsupported, match=re.escape(reason)):
        event.run(model, jnp.zeros((1, 28, 28, 1)))


def test_float64_is_refused(x64):
    assert unsupported(CSNN(dtype=jnp.float64)) == "the event engine computes in float32, not float64"


def test_a_four_bit_count_takes_four_inputs():
    config = ModelConfig((8, 8, 400), (1,), kernel_size=7, hidden=(), time_steps=2, scale=1.0, input_bits=4)
    many = CSNN(config)
    event.run(many, jnp.zeros((1, 8, 8, 400)))
    with pytest.raises(Unsupported, match="sums at most 65,535 inputs, but conv1 has 400 channels"):
        event.run(many, jnp.zeros((2, 1, 8, 8, 400)))
