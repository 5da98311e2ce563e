"""Strategies that draw any valid configuration."""

from typing import get_args

from hypothesis import strategies as st

from csnn_jax import config as c
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig

POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False, allow_nan=False)
COUNT = st.integers(1, 2000)


@st.composite
def model_configs(draw) -> ModelConfig:
    channels = tuple(draw(st.lists(COUNT, max_size=4)))
    size = st.integers(2 ** len(channels), 200)
    hidden = tuple(draw(st.lists(COUNT, max_size=3)))
    layers = len(channels) + len(hidden) + 1
    beta = st.one_of(st.floats(0, 1), st.sampled_from([0, 1]))
    surrogate = draw(st.sampled_from(("auto", *get_args(c.SurrogateName))))
    has_slope = surrogate not in ("straight_through", "heaviside")
    return ModelConfig(
        input_shape=(draw(size), draw(size), draw(COUNT)),
        conv_channels=channels,
        kernel_size=2 * draw(st.integers(0, 6)) + 1,
        hidden=hidden,
        num_classes=draw(st.integers(2, 1000)),
        pool=draw(st.sampled_from(get_args(c.Pool))),
        beta=draw(st.one_of(beta, st.tuples(*[beta] * layers))),
        threshold=draw(st.one_of(POSITIVE, st.tuples(*[POSITIVE] * layers))),
        learn_beta=draw(st.booleans()),
        learn_threshold=draw(st.booleans()),
        reset=draw(st.sampled_from(get_args(c.Reset))),
        surrogate=surrogate,
        slope=draw(st.one_of(st.none(), POSITIVE)) if has_slope else None,
        time_steps=draw(COUNT),
        encoding=draw(st.sampled_from(get_args(c.Encoding))),
        scale=draw(st.one_of(st.none(), POSITIVE)),
    )


CONFIGS = st.builds(
    Config,
    model=model_configs(),
    data=st.builds(
        DataConfig,
        dataset=st.text(),
        validation=st.integers(0, 10**6),
        augment=st.one_of(
            st.none(),
            st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 180), st.floats(0, 1, exclude_max=True)),
        ),
    ),
    train=st.builds(
        TrainConfig,
        epochs=COUNT,
        batch_size=COUNT,
        lr=st.floats(0, 1e37, exclude_min=True),
        seed=st.integers(0, 2**63 - 1),
        max_iters=st.one_of(st.none(), COUNT),
        eval_every=st.integers(0, 1000),
        engine=st.sampled_from(["auto", "scan", "event"]),
        dtype=st.sampled_from(["float32", "float64"]),
    ),
)
