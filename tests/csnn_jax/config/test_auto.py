"""What `auto` stands for depends on the stack and its input alone."""

from dataclasses import fields, replace

import pytest

from csnn_jax.config import Config, ModelConfig, TrainConfig, decided, lr_of, surrogate_of
from csnn_jax.config.auto import membranes, told

OTHER_STACKS = [
    {"input_shape": (32, 32, 1)},
    {"conv_channels": (32, 64, 64)},
    {"kernel_size": 5},
    {"hidden": ()},
    {"pool": "avg"},
    {"stride": 2},
    {"padding": "valid"},
    {"bias": False},
    {"encoding": "rate"},
]
SAME_STACK = {"beta": 0.9, "threshold": 0.5, "reset": "none", "time_steps": 3, "learn_beta": True, "num_classes": 5}


def chosen(model: ModelConfig, **train) -> tuple:
    found = decided(Config(model, train=TrainConfig(**train)))
    return found.model.surrogate, found.train.init, found.train.lr


@pytest.mark.parametrize("changes", [{}, SAME_STACK, *({k: v} for k, v in SAME_STACK.items())], ids=str)
def test_the_original_stack_keeps_its_recipe(changes):
    config = Config(ModelConfig(**changes), train=TrainConfig(seed=3, batch_size=7, epochs=9))
    assert chosen(ModelConfig(**changes)) == ("fast_sigmoid", "torch", 1e-2)
    assert told(config, decided(config)) is None


@pytest.mark.parametrize("changes", OTHER_STACKS, ids=str)
def test_another_stack_gets_weights_that_fire(changes):
    config = Config(ModelConfig(**changes | SAME_STACK))
    assert chosen(config.model) == ("atan", "calibrated", 5e-3)
    assert told(config, decided(config)) == "--surrogate atan, --init calibrated, --lr 0.005"


def test_without_convolutions_the_learning_rate_is_smaller():
    assert chosen(ModelConfig(conv_channels=())) == ("atan", "calibrated", 2e-3)


def test_what_a_flag_names_stands_and_the_rest_is_chosen():
    model = ModelConfig(pool="avg", surrogate="sigmoid", slope=3.0)
    assert chosen(model, lr=0.1) == ("sigmoid", "calibrated", 0.1)
    assert chosen(ModelConfig(surrogate="atan"), init="fluctuation") == ("atan", "fluctuation", 1e-2)
    config = Config(model, train=TrainConfig(lr=0.1, init="torch", microbatch=32))
    assert decided(config) == config and told(config, decided(config)) is None
    assert (surrogate_of(model), lr_of(config)) == ("sigmoid", 0.1)


def test_what_is_decided_stays_so():
    config = decided(Config(ModelConfig(pool="avg")))
    assert decided(config) == config and told(config, config) is None
    assert "auto" not in {getattr(config.train, f.name) for f in fields(TrainConfig) if f.name != "engine"}
    assert decided(replace(config, model=replace(config.model, pool="max"))).model.surrogate == "atan"


@pytest.mark.parametrize(
    "model, train, size",
    [
        ({}, {}, "off"),
        ({"time_steps": 105}, {}, "off"),
        ({"time_steps": 106}, {}, 64),
        ({"time_steps": 1000}, {}, 8),
        ({"time_steps": 1000}, {"microbatch": "off"}, "off"),
        ({"time_steps": 1000}, {"microbatch": 128}, 128),
        ({"time_steps": 1000}, {"batch_size": 8}, "off"),
        ({"time_steps": 1000}, {"batch_size": 127}, 1),
        ({"time_steps": 100_000}, {}, 1),
        ({}, {"dtype": "float64"}, 64),
        ({"time_steps": 1000}, {"rate_target": 0.1}, "off"),
    ],
)
def test_micro_batches_keep_membranes_within_a_bound(model, train, size):
    config = Config(ModelConfig(**model), train=TrainConfig(**train))
    assert decided(config).train.microbatch == size
    neurons = 14 * 14 * 32 + 7 * 7 * 64 + 512 + 10
    wide = 8 if config.train.dtype == "float64" else 4
    assert membranes(config) == neurons * wide * config.model.time_steps
