"""The check for repeatable functions, and every combination of the training step's options under it."""

import itertools
from dataclasses import replace
from functools import cache
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from refusals import refusing

from csnn_jax.config import ModelConfig, TrainConfig
from csnn_jax.config.job import Loss, Optimizer
from csnn_jax.engine import event, repeatable
from csnn_jax.network.model import CSNN
from csnn_jax.network.rounding import exp, log, rounded, scaled
from csnn_jax.update import gradient, objective, optimizer
from csnn_jax.update.gradient import Gradients
from csnn_jax.update.trainer import State, make_update

pytestmark = pytest.mark.numeric

LONG = repeatable.MOST + 1
FLAWED = {
    "a product in a sum": (lambda x, y: x * y + x, "add adds the product"),
    "through a reshape": (lambda x, y: (x * y).reshape(-1)[::2] - 1, "sub adds the product"),
    "a square": (lambda x, y: x**2 + y, "add adds the product"),
    "a sum of products": (lambda x, y: (x * y).sum(), "reduce_sum adds the product"),
    "the gradient of two uses": (jax.grad(lambda x, y: (jnp.sqrt(x) * y + rounded(x * 3)).sum()), "adds the product"),
    "in a loop": (lambda x, y: lax.scan(lambda c, _: (c * y, c + 1), x, length=2), "add adds the product"),
    "in a branch": (lambda x, y: lax.cond(x[0] > 0, lambda: x * y + y, lambda: x), "add adds the product"),
    "in a function": (lambda x, y: jax.jit(lambda p: p + 1)(x * y), "add adds the product"),
    "out of a function": (lambda x, y: jax.checkpoint(lambda: x * y)() + 1, "add adds the product"),
    "a matrix product": (lambda x, y: x @ y, "dot_general adds products"),
    "a division by a constant": (lambda x, y: x / 3, "div divides by a constant"),
    "an exponential": (lambda x, y: jnp.exp(x), "exp is approximated"),
    "a sum of constants": (lambda x, y: x + jnp.asarray([0.1, 0.2, 0.3]).sum(), "reduce_sum adds constants"),
    "a long sum": (lambda x, y: jnp.pad(x, (0, LONG - 3)).sum(), f"reduce_sum adds {LONG}"),
    "in a loop of unknown length": (
        lambda x, y: lax.while_loop(lambda c: c[1][0] < y[0], lambda c: (c[0] * x, c[0] + 1), (x, x)),
        "add adds the product",
    ),
    "the gradient of an exact sum": (
        jax.grad(lambda x, y: jax.named_scope("exact")(lambda: (x * y) @ x)()),
        "dot_general adds products",
    ),
}
SOUND = {
    "a rounded product": lambda x, y: rounded(x * y) + x,
    "a scaled sum and its gradient": lambda x, y: scaled(x, 0.3) + jax.grad(lambda x: scaled(x, 0.3).sum())(x),
    "a power of two": lambda x, y: 2 * x + y,
    "a mask": lambda x, y: (x > 0).astype(jnp.float32) * y + x,
    "a quotient": lambda x, y: x / y + x * y / 4,
    "nothing added": lambda x, y: x * y + 0.0,
    "integers": lambda x, y: (jnp.arange(3) * 5 + 2).sum(),
    "an exact sum": lambda x, y: jax.named_scope("exact")(lambda: x @ y + x * y)(),
    "a short sum": lambda x, y: (x + y).sum(),
    "the longest sum": lambda x, y: jnp.pad(x, (0, LONG - 4)).sum(),
    "two constants": lambda x, y: x + jnp.asarray([0.1, 0.2]).sum(),
    "a negative power of two": lambda x, y: x * -0.5 + y / -2,
    "what isn't used": lambda x, y: (x @ y, x)[1],
    "a kernel": lambda x, y: event.add_up(x * y),
    "our exponential and logarithm": lambda x, y: exp(-abs(x)) + log(1 + abs(y)),
}


@pytest.mark.parametrize("name", FLAWED)
def test_what_depends_on_the_processor_is_named_with_its_line(name):
    function, problem = FLAWED[name]
    x = jnp.array([1.0, 2.0, 3.0])
    lines = repeatable.problems(function, x, x)
    assert lines and problem in lines[0] and "test_repeatable.py:" in lines[0], lines
    with refusing(ValueError, "test_repeatable.py") as caught:
        repeatable.check(jax.jit(function), x, x)
    assert ("more)" in str(caught.value)) == (len(lines) > 1)


@pytest.mark.parametrize("name", SOUND)
def test_what_is_the_same_everywhere_passes(name):
    x = jnp.array([1.0, 2.0, 3.0])
    repeatable.check(SOUND[name], x, x)


OPTIMIZERS = [
    dict(zip(("optimizer", "momentum", "weight_decay", "clip_norm"), values, strict=True))
    | {"ema": 0.99 if values[2] else None}  # averages whatever was updated
    for values in itertools.product(get_args(Optimizer), (0.0, 0.9), (0.0, 0.01), (None, 0.5))
    if values[0] == "sgd" or not values[1]
]
TINY = ModelConfig(input_shape=(6, 6, 1), conv_channels=(3,), hidden=(4,), num_classes=3, time_steps=4)
NETWORKS = {
    "leaky": TINY,
    "learned, zero": replace(TINY, reset="zero", learn_beta=True, learn_threshold=True, pool="avg"),
    "dense, few bits": replace(TINY, conv_channels=(), hidden=(5, 5), weight_bits=3, surrogate="atan"),
    "encoded": replace(TINY, encoding="rate", surrogate="spike_rate_escape"),
    "residual": replace(TINY, conv_channels=(3, 3, 5), residual=("conv2", "conv3"), pool=("none", "none", "max")),
}


@cache
def drawn(config: ModelConfig) -> tuple[nnx.GraphDef, nnx.State]:
    graph = nnx.graphdef(nnx.eval_shape(lambda: CSNN(config)))
    return graph, jax.jit(lambda: nnx.state(CSNN(config)))()


def updated(config: ModelConfig, settings: TrainConfig, of_batch=None) -> list[str]:
    """The problems of a training step on the event engine."""
    graph, params = drawn(config)
    made = optimizer.make(settings, event.add_up)
    of_batch = of_batch or gradient.make(
        graph, objective.make(settings, event.add_up), event, settings.part, dropout=settings.dropout
    )
    update = make_update(graph, made, of_batch, event.add_up)
    average = None if settings.ema is None else params
    steps = (config.time_steps,) if config.encoding == "rate" else ()
    images, labels = jnp.zeros((*steps, 4, *config.input_shape), jnp.uint8), jnp.zeros(4, jnp.int32)
    masks = tuple(jnp.ones((4, width), bool) for width in (27, 4)) if settings.dropout else ()
    operands = State(params, params, made.init(params), average), images, labels, 0.01, True, 0.01, masks
    return repeatable.problems(update, *operands)


@pytest.mark.parametrize("settings", OPTIMIZERS, ids=lambda settings: " ".join(map(str, settings.values())))
def test_every_combination_of_the_optimizer_is_repeatable(settings):
    zeros = jax.tree.map(np.zeros_like, drawn(TINY)[1])

    def of_batch(params, x, labels):
        """A gradient that is a product, as the compiler might merge it with what follows."""
        return Gradients(jnp.float32(0), jnp.zeros(3), jax.tree.map(lambda p, z: p * (p + z), params, zeros))

    assert updated(TINY, TrainConfig(**settings), of_batch) == []


@pytest.mark.parametrize(
    ("network", "loss"),
    [
        *(("leaky", loss) for loss in get_args(Loss)),
        ("learned, zero", "ce_membrane"),
        ("dense, few bits", "ce_rate"),
        ("encoded", "mse_count"),
        ("residual", "ce_rate"),
    ],
)
def test_every_loss_and_every_kind_of_network_is_repeatable(network, loss):
    more = {
        "leaky": dict(dropout=0.5, batch_size=4, microbatch=2),
        "learned, zero": dict(dropout=0.5, rate_target=0.1),
        "dense, few bits": dict(label_smoothing=0.1, rate_target=0.1),
    }
    settings = TrainConfig(loss=loss, **{"microbatch": "off"} | more.get(network, {}))
    assert updated(NETWORKS[network], settings) == []


@pytest.mark.parametrize("add_up", [event.add_up, jnp.sum], ids=["ours", "XLA's"])
def test_an_own_loop_gives_the_same_bits_with_its_data_closed_over(add_up):
    """XLA's sums of constants may give others, which the check says."""
    config = replace(TINY, conv_channels=(20,), hidden=(), time_steps=12, surrogate="atan", slope=1.0)
    graph, params = nnx.split(CSNN(config))
    rng = np.random.default_rng(0)
    x, labels = rng.integers(0, 256, (40, 6, 6, 1), dtype=np.uint8), rng.integers(0, 3, 40)

    def loss(params, x, labels):
        spikes = event.forward(nnx.merge(graph, params), x)[1]
        return objective.ce_rate(spikes, labels, 0.1, add_up)

    def alone(params):
        return loss(params, jnp.asarray(x), jnp.asarray(labels))

    problems = repeatable.problems(jax.value_and_grad(alone), params)
    if add_up is jnp.sum:
        assert any("adds constants" in line for line in problems)
        return
    passed = jax.jit(jax.value_and_grad(loss))(params, x, labels)
    closed = jax.jit(jax.value_and_grad(alone))(params)
    pairs = zip(jax.tree.leaves(passed), jax.tree.leaves(closed), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs) and problems == []
