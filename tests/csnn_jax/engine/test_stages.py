"""The event engine names what it doesn't support."""

import jax
import jax.numpy as jnp
import pytest
from refusals import assert_line, refusing

from csnn_jax.config import ModelConfig
from csnn_jax.engine import event
from csnn_jax.engine.library import Unsupported
from csnn_jax.engine.stages import unsupported
from csnn_jax.network.model import CSNN

REFUSED = [
    (dict(kernel_size=9), ("conv1", 9, 7)),
    (dict(conv_channels=(8000, 1), hidden=()), ("conv2", 8000, 65535)),
    (dict(pool="sum"), ("pool1", "sum")),
    (dict(pool_size=(2, 7)), ("pool2", "7x7", "2x2")),
    (dict(stride=(1, 2)), ("conv2", "stride 1", "stride 2")),
]


def reason(config: ModelConfig, dtype: type = jnp.float32) -> str | None:
    reasons: list[str | None] = []
    jax.eval_shape(lambda: reasons.append(unsupported(CSNN(config, dtype=dtype))))
    return reasons[0]


def run(config: ModelConfig, *shape: int) -> None:
    """Traces the engine on an input of this shape, without drawing weights, as does `reason`."""
    jax.eval_shape(lambda x: event.forward(CSNN(config), x), jnp.zeros(shape))


@pytest.mark.parametrize(("changes", "facts"), REFUSED)
def test_an_unsupported_geometry_is_refused(changes, facts):
    config = ModelConfig(**changes)
    assert_line(reason(config), *facts)
    with refusing(Unsupported, *facts):
        run(config, 1, 28, 28, 1)


def test_float64_is_refused(x64):
    assert_line(reason(ModelConfig(), jnp.float64), "float32", "float64")


def test_a_four_bit_count_takes_four_inputs():
    config = ModelConfig((8, 8, 400), (1,), kernel_size=7, hidden=(), time_steps=2, scale=1.0, input_bits=4)
    run(config, 1, 8, 8, 400)
    with refusing(Unsupported, "conv1", 400, 65535):
        run(config, 2, 1, 8, 8, 400)
