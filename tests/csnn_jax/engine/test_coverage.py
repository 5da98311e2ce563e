"""The event engine names what it doesn't support."""

import jax.numpy as jnp
import pytest
from refusals import assert_line, refusing

from csnn_jax.config import ModelConfig
from csnn_jax.engine import event
from csnn_jax.engine.coverage import unsupported
from csnn_jax.engine.library import Unsupported
from csnn_jax.network.model import CSNN

REFUSED = [
    (dict(kernel_size=9), ("conv1", 9, 7)),
    (dict(conv_channels=(8000, 1), hidden=()), ("conv2", 8000, 65535)),
    (dict(pool="sum"), ("conv1", "sum")),
    (dict(pool_size=(2, 7)), ("conv2", "7x7", "2x2")),
    (dict(pool_after=True), ("--pool-after", "--engine scan")),
    (dict(stride=(1, 2)), ("conv2", "stride 1", "stride 2")),
]


@pytest.mark.parametrize(("changes", "facts"), REFUSED)
def test_an_unsupported_geometry_is_refused(changes, facts):
    model = CSNN(ModelConfig(**changes))
    assert_line(unsupported(model), *facts)
    with refusing(Unsupported, *facts):
        event.run(model, jnp.zeros((1, 28, 28, 1)))


def test_float64_is_refused(x64):
    assert_line(unsupported(CSNN(dtype=jnp.float64)), "float32", "float64")


def test_a_four_bit_count_takes_four_inputs():
    config = ModelConfig((8, 8, 400), (1,), kernel_size=7, hidden=(), time_steps=2, scale=1.0, input_bits=4)
    many = CSNN(config)
    event.run(many, jnp.zeros((1, 8, 8, 400)))
    with refusing(Unsupported, "conv1", 400, 65535):
        event.run(many, jnp.zeros((2, 1, 8, 8, 400)))
