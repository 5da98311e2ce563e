"""The configuration: what is accepted survives JSON unchanged, what is not is refused in one line."""

import itertools
import json
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csnn_jax import config as c
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, from_json, to_json
from csnn_jax.errors import UserError

POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False, allow_nan=False)
COUNT = st.integers(1, 2000)


@st.composite
def model_configs(draw) -> ModelConfig:
    channels = tuple(draw(st.lists(COUNT, max_size=4)))
    size = st.integers(2 ** len(channels), 200)
    hidden = tuple(draw(st.lists(COUNT, max_size=3)))
    layers = len(channels) + len(hidden) + 1
    beta = st.one_of(st.floats(0, 1), st.sampled_from([0, 1]))
    surrogate = draw(st.sampled_from(get_args(c.SurrogateName)))
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
    )


CONFIGS = st.builds(
    Config,
    model=model_configs(),
    data=st.builds(DataConfig, dataset=st.text(), validation=st.integers(0, 10**6)),
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


@given(CONFIGS)
def test_any_configuration_survives_json(config):
    assert from_json(Config, to_json(config), "config.json") == config
    assert from_json(ModelConfig, to_json(config.model), "metadata") == config.model


@given(model_configs())
def test_layers_fit_one_another(model):
    layers = model.layers
    conv, linear = layers[: len(model.conv_channels)], layers[len(model.conv_channels) :]
    assert [layer.name for layer in conv] == [f"conv{i}" for i in range(1, len(conv) + 1)]
    assert [layer.name for layer in linear] == [f"fc{i}" for i in range(1, len(linear) + 1)]
    assert {layer.kind for layer in conv} <= {"conv"} and {layer.kind for layer in linear} == {"linear"}
    assert layers[0].in_shape == model.input_shape and layers[-1].out_shape == (model.num_classes,)
    for before, after in itertools.pairwise(layers):
        assert after.in_shape == before.out_shape
    for layer, channels in zip(conv, model.conv_channels, strict=True):
        height, width, _ = layer.in_shape
        assert layer.out_shape == (height // 2, width // 2, channels)
        assert min(layer.out_shape) >= 1
    assert [layer.out_shape for layer in linear[:-1]] == [(n,) for n in model.hidden]
    assert len(model.betas) == len(model.thresholds) == len(layers)


def test_the_default_stack():
    shapes = [(layer.name, layer.in_shape, layer.out_shape) for layer in ModelConfig().layers]
    assert shapes == [
        ("conv1", (28, 28, 1), (14, 14, 32)),
        ("conv2", (14, 14, 32), (7, 7, 64)),
        ("fc1", (7, 7, 64), (512,)),
        ("fc2", (512,), (10,)),
    ]
    assert ModelConfig().betas == (0.5,) * 4 and ModelConfig().thresholds == (1.0,) * 4


def test_one_value_per_layer_is_kept_in_order():
    model = ModelConfig(beta=(0.1, 0.2, 0.3, 0.4), threshold=(1.0, 2.0, 3.0, 4.0))
    assert model.betas == (0.1, 0.2, 0.3, 0.4) and model.thresholds == (1.0, 2.0, 3.0, 4.0)


INVALID = [
    (ModelConfig, "beta", 1.5, "--beta 1.5: expected a number from 0 to 1"),
    (ModelConfig, "beta", -0.1, "--beta -0.1: expected"),
    (ModelConfig, "beta", math.nan, "--beta nan: expected"),
    (ModelConfig, "beta", (0.5, 0.5, 0.5), "--beta 0.5 0.5 0.5: expected one value, or 4 (one per layer)"),
    (ModelConfig, "beta", (0.5, 0.5, 2.0, 0.5), "--beta 0.5 0.5 2.0 0.5: expected a number from 0 to 1"),
    (ModelConfig, "beta", (), "--beta : expected one value, or 4"),
    (ModelConfig, "beta", True, "--beta True: expected"),
    (ModelConfig, "beta", "half", "--beta half: expected"),
    (ModelConfig, "threshold", 0.0, "--threshold 0.0: expected a positive number"),
    (ModelConfig, "threshold", math.inf, "--threshold inf: expected"),
    (ModelConfig, "threshold", math.nan, "--threshold nan: expected"),
    (ModelConfig, "threshold", (1.0,) * 5, "--threshold 1.0 1.0 1.0 1.0 1.0: expected one value, or 4"),
    (ModelConfig, "time_steps", 0, "--time-steps 0: expected a whole number of at least 1"),
    (ModelConfig, "time_steps", 2.0, "--time-steps 2.0: expected"),
    (ModelConfig, "time_steps", True, "--time-steps True: expected"),
    (ModelConfig, "kernel_size", 4, "--kernel-size 4: expected an odd whole number"),
    (ModelConfig, "kernel_size", -1, "--kernel-size -1: expected"),
    (ModelConfig, "conv_channels", (1,) * 5, "--conv-channels 1 1 1 1 1: expected few enough blocks for 28x28 pixels"),
    (ModelConfig, "conv_channels", (8, 0), "--conv-channels 8 0: expected positive whole numbers"),
    (ModelConfig, "conv_channels", 8, "--conv-channels 8: expected"),
    (ModelConfig, "hidden", (16, -1), "--hidden 16 -1: expected positive whole numbers"),
    (ModelConfig, "hidden", (True,), "--hidden True: expected"),
    (ModelConfig, "input_shape", (28, 28), "--input-shape 28 28: expected three positive whole numbers"),
    (ModelConfig, "input_shape", (28, 0, 1), "--input-shape 28 0 1: expected"),
    (ModelConfig, "num_classes", 1, "--num-classes 1: expected a whole number of at least 2"),
    (ModelConfig, "pool", "min", "--pool min: expected one of max, avg"),
    (ModelConfig, "reset", "hard", "--reset hard: expected one of subtract, zero, none"),
    (ModelConfig, "encoding", "phase", "--encoding phase: expected one of direct, rate, latency"),
    (ModelConfig, "surrogate", "gaussian", "--surrogate gaussian: expected one of fast_sigmoid, atan"),
    (ModelConfig, "surrogate", "SSO", "--surrogate SSO: it draws random gradients"),
    (ModelConfig, "slope", 0, "--slope 0: expected a positive number"),
    (ModelConfig, "slope", 10**400, "--slope 1000"),
    (ModelConfig, "learn_beta", 1, "--learn-beta 1: expected true or false"),
    (ModelConfig, "learn_threshold", "no", "--learn-threshold no: expected true or false"),
    (DataConfig, "dataset", 3, "--dataset 3: expected the name of a data set"),
    (DataConfig, "validation", -1, "--validation -1: expected a whole number of at least 0"),
    (TrainConfig, "epochs", 0, "--epochs 0: expected a whole number of at least 1"),
    (TrainConfig, "batch_size", 0, "--batch-size 0: expected"),
    (TrainConfig, "batch_size", False, "--batch-size False: expected"),
    (TrainConfig, "lr", 0.0, "--lr 0.0: expected a positive number"),
    (TrainConfig, "lr", 1e38, "--lr 1e+38: expected a positive number below 1e38"),
    (TrainConfig, "lr", math.nan, "--lr nan: expected"),
    (TrainConfig, "lr", "fast", "--lr fast: expected"),
    (TrainConfig, "seed", -1, "--seed -1: expected a whole number of at least 0"),
    (TrainConfig, "seed", 2**63, "--seed 9223372036854775808: expected less than 2**63"),
    (TrainConfig, "max_iters", 0, "--max-iters 0: expected"),
    (TrainConfig, "eval_every", -1, "--eval-every -1: expected"),
    (TrainConfig, "engine", "fast", "--engine fast: expected auto, scan or event"),
    (TrainConfig, "dtype", "float16", "--dtype float16: expected float32 or float64"),
]


@pytest.mark.parametrize("kind, field, value, message", INVALID, ids=lambda v: str(v)[:40])
def test_a_value_out_of_range_is_refused_by_flag_and_value(kind, field, value, message):
    with pytest.raises(UserError) as caught:
        kind(**{field: value})
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "run/config.json: expected JSON: "),
        ('{"model": ', "run/config.json: expected JSON: "),
        ('{"train": {"seed": ' + "1" * 5000 + "}}", "run/config.json: expected JSON: "),
        ("[" * 100_000, "run/config.json: expected JSON: "),
        ("null", "run/config.json: Config is None: expected an object of named fields"),
        ('{"model": 3}', "run/config.json: ModelConfig is 3: expected an object"),
        ('{"modle": {}}', "run/config.json: modle: Config has no such field, expected one of data, model, train"),
        ('{"model": {"betta": 0.5}}', "run/config.json: betta: ModelConfig has no such field, expected one of beta, "),
        ('{"model": {"beta": NaN}}', "run/config.json: --beta nan: expected a number from 0 to 1"),
        ('{"model": {"hidden": [[1]]}}', "run/config.json: --hidden [1]: expected positive whole numbers"),
        ('{"train": {"lr": null}}', "run/config.json: --lr None: expected a positive number"),
    ],
)
def test_bad_json_is_refused_in_one_line_that_names_the_file(text, message):
    with pytest.raises(UserError) as caught:
        from_json(Config, text, "run/config.json")
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_fields_left_out_take_their_defaults():
    assert from_json(Config, '{"model": {"time_steps": 7}}', "x") == Config(model=ModelConfig(time_steps=7))


def test_the_json_is_an_object_of_the_three_concerns():
    assert list(json.loads(to_json(Config()))) == ["model", "data", "train"]
