"""Strategies that generate any valid configuration."""

from typing import get_args

from hypothesis import assume
from hypothesis import strategies as st

from csnn_jax import config as c
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, job
from csnn_jax.config.names import is_plain
from csnn_jax.errors import UserError
from csnn_jax.neurons import NEURONS

POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False, allow_nan=False)
THRESHOLD = st.floats(2.0**-100, 2.0**99)
COUNT = st.integers(1, 2000)


@st.composite
def model_configs(draw) -> ModelConfig:
    channels = tuple(draw(st.lists(st.integers(1, 200), max_size=4)))
    n = len(channels)
    padding, stride, pool, pool_size = (
        draw(st.one_of(one, st.tuples(*[one] * n)) if n else one)
        for one in (
            st.sampled_from(get_args(c.Padding)),
            st.integers(1, 3),
            st.sampled_from(get_args(c.Pool)),
            st.sampled_from([2, 4]),
        )
    )
    kernel = draw(st.tuples(*[st.integers(1, 9)] * n)) if n else draw(st.integers(1, 9))
    paddings, pools, strides, windows = (
        one if isinstance(one, tuple) else (one,) * n for one in (padding, pool, stride, pool_size)
    )
    sizes = tuple(k - (k % 2 == 0 and p == "same") for k, p in zip(kernel if n else (), paddings, strict=True))
    least = 1
    for k, p, s, pooled, w in reversed(list(zip(sizes, paddings, strides, pools, windows, strict=True))):
        positions = least if pooled == "none" else w * least
        least = max(1, (positions - 1) * s + k - (2 * (k // 2) if p == "same" else 0))
    size = st.integers(least, least + 20)
    hidden = tuple(draw(st.lists(COUNT, max_size=3)))
    layers = len(channels) + len(hidden) + 1
    beta = st.one_of(st.floats(0, 1), st.sampled_from([0, 1]))
    surrogate = draw(st.sampled_from(("auto", *get_args(c.SurrogateName))))
    kind = NEURONS[draw(st.sampled_from([*NEURONS]))]
    of_kind = {}
    for name, parameter in kind.parameters.items():
        one = beta if parameter.decays else THRESHOLD
        of_kind[name] = draw(st.one_of(one, st.tuples(*[one] * layers)))
        of_kind[f"learn_{name}"] = draw(st.booleans())
    reset = st.sampled_from(kind.resets)
    has_slope = surrogate not in c.SLOPELESS
    fields = dict(
        input_shape=(draw(size), draw(size), draw(st.integers(1, 20))),
        conv_channels=channels,
        kernel_size=sizes if n else 2 * kernel - 1,
        stride=stride,
        padding=padding,
        hidden=hidden,
        num_classes=draw(st.integers(2, 1000)),
        pool=pool,
        pool_size=pool_size,
        pool_after=draw(st.booleans()),
        bias=draw(st.booleans()),
        neuron=kind.name,
        **of_kind,
        per_channel=tuple(draw(st.lists(st.sampled_from([*kind.parameters]), unique=True))),
        reset=draw(st.one_of(reset, st.tuples(*[reset] * layers))),
        output=draw(st.sampled_from(get_args(c.Output))),
        surrogate=surrogate,
        slope=draw(st.one_of(st.none(), POSITIVE)) if has_slope else None,
        time_steps=draw(COUNT),
        encoding=draw(st.sampled_from(get_args(c.Encoding))),
        readout=draw(st.sampled_from(get_args(c.Readout))),
        scale=draw(st.one_of(st.none(), st.integers(-16, 20).map(lambda power: 2.0**power))),
        weight_bits=draw(st.one_of(st.none(), st.integers(2, 8))),
        input_bits=draw(st.one_of(st.none(), st.integers(0, 12))),
    )
    try:
        return ModelConfig(**fields)
    except UserError as error:  # wide layers leave too few bits
        assume(" for weights, not at least" not in str(error))
        raise


@st.composite
def train_configs(draw) -> TrainConfig:
    share = st.floats(0, 1, exclude_max=True)
    optimizer = draw(st.sampled_from(get_args(job.Optimizer)))
    target = draw(st.one_of(st.none(), st.floats(0, 1, exclude_min=True, exclude_max=True)))
    batch = draw(COUNT)
    divisors = st.sampled_from([size for size in range(1, batch + 1) if batch % size == 0])
    sizes = st.sampled_from(["auto", "off"])
    return TrainConfig(
        epochs=draw(COUNT),
        batch_size=batch,
        microbatch=draw(sizes if target is not None else st.one_of(sizes, divisors)),
        lr=draw(st.one_of(st.none(), st.floats(0, 2**30, exclude_min=True, exclude_max=True))),
        init=draw(st.sampled_from(get_args(job.Init))),
        init_density=draw(st.floats(0.001, 0.6)),
        seed=draw(st.integers(0, 2**63 - 1)),
        max_iters=draw(st.one_of(st.none(), COUNT)),
        eval_every=draw(st.integers(0, 1000)),
        checkpoint_every=draw(st.integers(0, 1000)),
        keep_checkpoints=draw(COUNT),
        engine=draw(st.sampled_from(["auto", "scan", "event"])),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        optimizer=optimizer,
        momentum=draw(share) if optimizer == "sgd" else 0.0,
        schedule=draw(st.sampled_from(get_args(job.Schedule))),
        warmup=draw(st.integers(0, 1000)),
        weight_decay=draw(st.one_of(st.none(), st.just(0.0), POSITIVE)),
        clip_norm=draw(st.one_of(st.none(), POSITIVE)),
        dropout=draw(share),
        ema=draw(st.one_of(st.none(), st.floats(0, 1, exclude_min=True, exclude_max=True))),
        loss=draw(st.sampled_from(get_args(job.Loss))),
        label_smoothing=draw(share),
        rate_target=target,
        rate_weight=None if target is None else draw(st.one_of(st.none(), POSITIVE)),
    )


def _fits(parts: tuple[ModelConfig, TrainConfig]) -> bool:
    model, train = parts
    unread = train.loss == "mse_count" and model.readout == "membrane"
    return not unread and ((train.rate_target is None and not train.dropout) or len(model.graph.neurons) > 1)


@st.composite
def configs(draw) -> Config:
    model, train = draw(st.tuples(model_configs(), train_configs()).filter(_fits))
    below = st.floats(0, 1, exclude_max=True)
    augment = st.one_of(st.none(), st.tuples(below, st.floats(0, 180), below))
    name = st.text().filter(is_plain)
    changes = {"dataset": name, "augment": augment, "flip": st.booleans(), "event_drop": below}
    images = st.builds(DataConfig, validation=st.integers(0, 10**6), **changes)
    return Config(model, draw(images), train)


CONFIGS = configs()
