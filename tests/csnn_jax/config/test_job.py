"""Jobs: values that contradict each other, their JSON, and `auto`, which depends only on the stack and its neurons."""

import contextlib
import dataclasses
import json
import math

import numpy as np
import pytest
from configs import CONFIGS
from hypothesis import given
from refusals import refusing

from csnn_jax.config import Config, DataConfig, ModelConfig, NodeConfig, TrainConfig, decided, lr_of, surrogate_of
from csnn_jax.config.job import SCHEMA_VERSION, auto_summary, job_from_json, job_to_json, membranes
from csnn_jax.config.job import microbatch_summary as summary
from csnn_jax.config.unknown import UnknownConfig
from csnn_jax.errors import UserError
from csnn_jax.options import from_json, to_json

KINDS = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig, "unknown": UnknownConfig}

INVALID = [
    (DataConfig, {"augment": (2.0, 181.0, 0.1)}, ("augment 2 181 0.1", "rotation", "0 to 180")),
    (DataConfig, {"augment": (2.0, 10.0, 1.0)}, ("augment 2 10 1", "scale", "below 1")),
    (DataConfig, {"classes": ("a", "a")}, ("classes a a", "different names")),
    (DataConfig, {"classes": ("a", "-")}, ("classes a -", "different names")),
    (DataConfig, {"classes": ("a", "b\n")}, (r"classes a b\n", "different names")),
    (DataConfig, {"classes": ("a", "\u202eb")}, (r"classes a \u202eb", "different names")),
    (DataConfig, {"dataset": "idx:\x1b]0;x\x07"}, (r"dataset idx:\x1b]0;x\x07", "the name of a data set")),
    (TrainConfig, {"init": "torch", "init_from": "run"}, ("init torch", "auto", "init_from")),
    (TrainConfig, {"microbatch": 48}, ("microbatch 48", "auto, off", "divisor")),
    (TrainConfig, {"microbatch": 64, "rate_target": 0.1}, ("microbatch 64", "auto", "off", "rate_target")),
    (TrainConfig, {"momentum": 0.9}, ("momentum 0.9", "optimizer sgd")),
    (TrainConfig, {"ema": 0.0}, ("ema 0", "above 0")),
    (TrainConfig, {"rate_weight": 2.0}, ("rate_weight 2", "rate_target")),
]
"""Values that break a rule between options, or one that test_options.py can't read from a message."""


@pytest.mark.parametrize("kind, fields, facts", INVALID, ids=lambda v: str(v)[:40])
def test_errors_name_the_option_and_its_value(kind, fields, facts):
    with refusing(UserError, *facts):
        kind(**fields)


def test_augment_is_a_tuple_and_its_shift_stays_below_the_smaller_side():
    amounts = DataConfig(augment=[7, 180, 0.5])
    assert amounts == DataConfig(augment=(7.0, 180.0, 0.5)) and hash(amounts) == hash(DataConfig(augment=(7, 180, 0.5)))
    assert Config(ModelConfig(input_shape=(9, 8, 1)), amounts).data.augment == (7, 180, 0.5)
    with refusing(UserError, "augment 7 180 0.5", 7, "9x7"):
        Config(ModelConfig(input_shape=(9, 7, 1)), amounts)


def test_every_output_neuron_has_a_name():
    assert Config(ModelConfig(num_classes=3)).class_names == ("0", "1", "2")
    named = Config(ModelConfig(num_classes=3), DataConfig(classes=["cat", "\N{CAT} \u200d"]))
    assert named.class_names == ("cat", "\N{CAT} \u200d", "2")
    assert job_from_json(job_to_json(named), "config.json") == named
    with refusing(UserError, "classes a b c", 2):
        Config(ModelConfig(num_classes=2), DataConfig(classes=("a", "b", "c")))


NESTED = ([[3], [5]], [[3], [3]], [["max"], ["max"]], ((1,), (2,)), [{}, {}], [None], {}, {"a": [1]}, [[]])
ODD = (*NESTED, math.nan, math.inf, 10**400, 10**5000, [10**5000], -(2**70), b"x", b"\0", "\0", "a\nb", "x" * 5000, 1j)
ODD += (True, [True, False], np.float32("nan"), np.array([[1, 2], [3, 4]]), np.array([None]), np.bool_(True), object())
FIELDS = [(name, kind, one.name) for name, kind in KINDS.items() for one in dataclasses.fields(kind)]


def test_no_two_parts_have_a_field_of_the_same_name():
    """Messages name fields without their part, and processes compare them by name."""
    assert len({field for _, _, field in FIELDS}) == len(FIELDS)


@pytest.mark.parametrize(("part", "kind", "field"), FIELDS, ids=str)
def test_an_odd_value_is_accepted_or_refused_in_one_line(part, kind, field):
    """By the class and from config.json; accepted values can be hashed, decided and written."""
    for value in ODD:
        try:
            made = Config(**{part: kind(**{field: value})})
            assert hash(made) == hash(job_from_json(job_to_json(made), "config.json")) and decided(made)
        except UserError as error:
            assert str(error).startswith((f"{field} ", f"{field}: "))
            assert str(error).isprintable() and len(str(error)) < 400
        try:
            text = json.dumps({"schema_version": SCHEMA_VERSION, part: {field: value}})
        except (TypeError, ValueError):  # JSON can't represent it
            continue
        try:
            made = job_from_json(text, "config.json")
            assert job_from_json(job_to_json(made), "config.json") == made
        except UserError as error:
            assert str(error).startswith("config.json: ") and field in str(error)


def test_mse_count_needs_a_spike_readout():
    Config(ModelConfig(readout="membrane"), train=TrainConfig(loss="ce_membrane"))
    with refusing(UserError, "readout membrane", "spikes", "loss mse_count"):
        Config(ModelConfig(readout="membrane"), train=TrainConfig(loss="mse_count"))


def test_default_weight_decay_and_rate_weight():
    assert [TrainConfig(optimizer=name).decay for name in ("adam", "adamw", "sgd")] == [0.0, 0.01, 0.0]
    assert TrainConfig(optimizer="adamw", weight_decay=0).decay == 0
    assert TrainConfig(rate_target=0.1).rate == (0.1, 10.0)
    assert TrainConfig(rate_target=0.1, rate_weight=0.5).rate == (0.1, 0.5)


CYCLE = [
    NodeConfig("own", "convolution", "image", channels=2, kernel=1),
    NodeConfig("odd", "convolution", "first@1", channels=2, kernel=1),
    NodeConfig("first", "leaky", ["own", "odd"]),
    NodeConfig("flat", "flatten", "first"),
    NodeConfig("fc", "linear", "flat", channels=10),
    NodeConfig("last", "leaky", "fc"),
]


@pytest.mark.parametrize(
    ("model", "train", "facts"),
    [
        ({}, {"engine": "event"}, ("engine event", "scan", "batch_norm")),
        ({}, {"microbatch": 64}, ("microbatch 64", "auto", "off", "batch_norm")),
        ({"weight_bits": 4}, {}, ("weight_bits 4", "batch_norm", "init_from")),
        ({"conv_channels": ()}, {}, ("batch_norm", "convolutions")),
        ({"bias": False}, {}, ("batch_norm", "bias", "conv1")),
        ({"network": CYCLE}, {}, ("batch_norm", "cycles", "odd")),
    ],
    ids=str,
)
def test_batch_normalization_is_refused_where_it_has_no_meaning(model, train, facts):
    Config(ModelConfig(**model), train=TrainConfig(**train))
    with refusing(UserError, *facts):
        Config(ModelConfig(**model), train=TrainConfig(**train, batch_norm=True))


def test_batch_normalization_takes_the_whole_batch():
    long = ModelConfig(time_steps=1000)
    assert decided(Config(long, train=TrainConfig(batch_norm=True))).train.part is None
    assert TrainConfig(microbatch=128, batch_norm=True).part == 128


def test_a_rate_target_allows_one_micro_batch():
    assert TrainConfig(microbatch=128, rate_target=0.1).part == 128


def test_the_default_job():
    """Other defaults are another job than the documented one; another version of config.json loses older runs."""
    model, train = ModelConfig(), TrainConfig()
    sizes = model.kernel_size, model.stride, model.pool_size, model.hidden, model.num_classes, model.time_steps
    assert (model.input_shape, model.conv_channels, *sizes) == ((28, 28, 1), (32, 64), 3, 1, 2, (512,), 10, 100)
    assert (train.epochs, train.batch_size, train.seed, train.warmup, train.eval_every) == (1, 128, 0, 0, 50)
    assert (train.checkpoint_every, train.keep_checkpoints, DataConfig().validation) == (0, 2, 0)
    assert json.loads(job_to_json(Config()))["schema_version"] == 3


@pytest.mark.parametrize("name", ["event_drop", "dropout", "label_smoothing", "ema", "rate_target"])
def test_a_share_is_below_one(name):
    kind = DataConfig if name == "event_drop" else TrainConfig
    assert getattr(kind(**{name: 0.999}), name) == 0.999
    with refusing(UserError, f"{name} 1"):
        kind(**{name: 1})


@pytest.mark.parametrize("train", [{"rate_target": 0.1}, {"dropout": 0.5}], ids=str)
def test_what_applies_to_hidden_layers_needs_one(train):
    Config(ModelConfig(conv_channels=(), hidden=(5,)), train=TrainConfig(**train))
    with refusing(UserError, *train, "hidden layer"):
        Config(ModelConfig(conv_channels=(), hidden=()), train=TrainConfig(**train))


@pytest.mark.parametrize(("margin", "validation", "fact"), [(6, 1, ""), (7, 1, "margin 7"), (6, 0, "share 0.1")])
def test_a_margin_is_a_number_of_spikes_on_held_out_images(margin, validation, fact):
    parts = {"data": DataConfig(validation=validation), "unknown": UnknownConfig(0.1, margin, 6, "0" * 64)}
    with refusing(UserError, fact) if fact else contextlib.nullcontext():
        Config(**parts)


@pytest.mark.parametrize("part", KINDS)
def test_a_part_of_the_wrong_type_is_named(part):
    with refusing(UserError, part, f"{part.title()}Config"):
        Config(**{part: {"lr": 1}})


@given(CONFIGS)
def test_any_configuration_survives_json(config):
    assert job_from_json(job_to_json(config), "config.json") == config
    assert from_json(ModelConfig, to_json(config.model), "metadata") == config.model


@pytest.mark.parametrize(
    "text, facts",
    [
        ('{"train": {"seed": ' + "1" * 5000 + "}}", ("JSON",)),
        ("[" * 100_000, ("JSON",)),
        ("null", ("Config", None, "object")),
        ('{"model": 3}', ("ModelConfig", 3, "object")),
        ('{"modle": {}}', ("modle", "Config", "data, model, train")),
        ('{"model": {"betta": 0.5}}', ("betta", "ModelConfig", "alpha")),
        ('{"model": {"beta": NaN}}', ("beta nan", "0 to 1")),
        ('{"model": {"hidden": [[1]]}}', ("hidden [1]", "whole number")),
        ('{"train": {"lr": "fast"}}', ("lr 'fast'", "above 0")),
    ],
)
def test_bad_json_is_refused_in_one_line_that_names_the_file(text, facts):
    with refusing(UserError, "run/config.json", *facts):
        from_json(Config, text, "run/config.json")


def test_fields_left_out_take_their_defaults():
    assert from_json(Config, '{"model": {"time_steps": 7}}', "x") == Config(ModelConfig(time_steps=7))


@pytest.mark.parametrize("version", [1, "2", True, None])
def test_another_schema_is_refused(version):
    text = json.dumps(json.loads(job_to_json(Config())) | {"schema_version": version})
    with refusing(UserError, f"schema_version {version!r}", SCHEMA_VERSION):
        job_from_json(text, "x")


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
    config = decided(Config(model, train=TrainConfig(**train)))
    return config.model.surrogate, config.train.init, config.train.lr


@pytest.mark.parametrize("changes", [{}, SAME, *({k: v} for k, v in SAME.items())], ids=str)
def test_the_original_network_keeps_its_recipe(changes):
    config = Config(ModelConfig(**changes), train=TrainConfig(seed=3, batch_size=7, epochs=9))
    assert chosen(ModelConfig(**changes)) == ("fast_sigmoid", "torch", 1e-2)
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
    assert chosen(config.model) == ("atan", "calibrated", 5e-3)
    assert auto_summary(config, decided(config)) == "--surrogate atan, --init calibrated, --lr 0.005"


@pytest.mark.parametrize("changes", OTHER_NEURONS, ids=str)
def test_other_neurons_get_a_lower_learning_rate(changes):
    config = Config(ModelConfig(**changes))
    assert chosen(config.model) == ("atan", "calibrated", 2.5e-3)
    wide = config.model.reset == "none"
    assert decided(config).model.slope == (1.0 if wide else None)
    rest = f"{'--slope 1, ' if wide else ''}--init calibrated, --lr 0.0025"
    assert auto_summary(config, decided(config)) == f"--surrogate atan, {rest}"


def test_explicit_values_are_kept_and_the_rest_is_chosen():
    for changes in ({"slope": 3.0}, {"surrogate": "atan"}):
        assert decided(Config(ModelConfig(reset="none", **changes))).model.slope == changes.get("slope")
    model = ModelConfig(pool="avg", surrogate="sigmoid", slope=3.0)
    assert chosen(model, lr=0.1) == ("sigmoid", "calibrated", 0.1)
    assert chosen(ModelConfig(surrogate="atan"), init="fluctuation") == ("atan", "fluctuation", 1e-2)
    config = Config(model, train=TrainConfig(lr=0.1, init="torch", microbatch=32))
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
    said = summary(config, decided(config))
    assert (said is None) == (size == "off" or "microbatch" in train)
    assert said is None or f"{membranes(config) * config.train.batch_size / 1e9:.1f} GB" in said
