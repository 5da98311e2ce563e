"""`auto` depends only on the stack, its input and its neurons."""

import pytest

from csnn_jax.config import Config, ModelConfig, TrainConfig, decided, lr_of, surrogate_of
from csnn_jax.config.job import auto_summary, membranes

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
    {"reset": "zero"},
]
OTHER_NEURONS = [{"beta": 0.9}, {"beta": (0.5, 0.5, 0.5, 0.6)}, {"reset": "none"}, {"learn_beta": True}]
OTHER_NEURONS += [
    {"learn_threshold": True},
    {"reset": "none", "beta": 0.3},
    {"conv_channels": (8,), "learn_beta": True},
]
SAME = {"threshold": 0.5, "time_steps": 3, "num_classes": 5, "beta": (0.5,) * 4}


def chosen(model: ModelConfig, **train) -> tuple:
    found = decided(Config(model, train=TrainConfig(**train)))
    return found.model.surrogate, found.train.init, found.train.lr, found.train.schedule


@pytest.mark.parametrize("changes", [{}, SAME, *({k: v} for k, v in SAME.items())], ids=str)
def test_the_original_network_keeps_its_recipe(changes):
    config = Config(ModelConfig(**changes), train=TrainConfig(seed=3, batch_size=7, epochs=9))
    assert chosen(ModelConfig(**changes)) == ("fast_sigmoid", "torch", 1e-2, "constant")
    assert auto_summary(config, decided(config)) == "--surrogate fast_sigmoid, --init torch, --lr 0.01"


@pytest.mark.parametrize(
    ("model", "lr"), [({}, 1e-3), ({"pool": "avg"}, 5e-4), ({"beta": 0.9}, 2.5e-4), ({"reset": "none"}, 2.5e-4)]
)
def test_fine_tuning_takes_a_tenth_of_the_learning_rate(model, lr):
    config = Config(ModelConfig(**model), train=TrainConfig(init_from="RUN"))
    assert decided(config).train.lr == pytest.approx(lr) and f"--lr {lr:g}" in auto_summary(config, decided(config))
    assert decided(Config(ModelConfig(**model), train=TrainConfig(init_from="RUN", lr=0.02))).train.lr == 0.02


@pytest.mark.parametrize("changes", OTHER_STACKS, ids=str)
def test_another_stack_gets_weights_that_fire(changes):
    config = Config(ModelConfig(**changes, threshold=0.5, time_steps=3))
    assert chosen(config.model) == ("atan", "calibrated", 5e-3, "constant")
    assert auto_summary(config, decided(config)) == "--surrogate atan, --init calibrated, --lr 0.005"


@pytest.mark.parametrize("changes", OTHER_NEURONS, ids=str)
def test_other_neurons_get_a_falling_learning_rate_too(changes):
    config = Config(ModelConfig(**changes))
    assert chosen(config.model) == ("atan", "calibrated", 2.5e-3, "cosine")
    wide = config.model.reset == "none"
    assert decided(config).model.slope == (1.0 if wide else None)
    rest = f"{'--slope 1, ' if wide else ''}--init calibrated, --lr 0.0025, --schedule cosine"
    assert auto_summary(config, decided(config)) == f"--surrogate atan, {rest}"
    assert chosen(config.model, schedule="constant")[-1] == "constant"


def test_without_convolutions_the_learning_rate_falls():
    assert chosen(ModelConfig(conv_channels=())) == ("atan", "calibrated", 5e-3, "cosine")


def test_explicit_values_are_kept_and_the_rest_is_chosen():
    for given in ({"slope": 3.0}, {"surrogate": "atan"}):
        assert decided(Config(ModelConfig(reset="none", **given))).model.slope == given.get("slope")
    model = ModelConfig(pool="avg", surrogate="sigmoid", slope=3.0)
    assert chosen(model, lr=0.1) == ("sigmoid", "calibrated", 0.1, "constant")
    assert chosen(ModelConfig(surrogate="atan"), init="fluctuation") == ("atan", "fluctuation", 1e-2, "constant")
    config = Config(model, train=TrainConfig(lr=0.1, init="torch", microbatch=32, schedule="cosine"))
    assert decided(config) == config and auto_summary(config, decided(config)) is None
    assert (surrogate_of(model), lr_of(config)) == ("sigmoid", 0.1)


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
