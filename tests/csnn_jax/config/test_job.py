import json
import math
from contextlib import suppress
from dataclasses import fields

import numpy as np
import pytest
from refusals import refusing

from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, decided
from csnn_jax.errors import UserError
from csnn_jax.runs.config_json import SCHEMA_VERSION, job_from_json, job_to_json

KINDS = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig}

INVALID = [
    (DataConfig, "dataset", 3, ("dataset 3", "the name of a data set")),
    (DataConfig, "validation", -1, ("validation -1", "whole number", "at least 0")),
    (DataConfig, "augment", (2.0, 10.0), ("augment 2 10", "three numbers", "shift", "rotation")),
    (DataConfig, "augment", (-1.0, 0.0, 0.1), ("augment -1 0 0.1", "shift", "at least 0")),
    (DataConfig, "augment", (2.0, 181.0, 0.1), ("augment 2 181 0.1", "rotation", "0 to 180")),
    (DataConfig, "augment", (2.0, 10.0, 1.0), ("augment 2 10 1", "scale", "at least 0", "below 1")),
    (DataConfig, "event_drop", 1.0, ("event_drop 1", "at least 0", "below 1")),
    (DataConfig, "frames", "both", ("frames both", "time", "count")),
    (DataConfig, "flip", 1, ("flip 1", "true or false")),
    (DataConfig, "classes", ("a", "a"), ("classes a a", "different names")),
    (DataConfig, "classes", ("a", "-"), ("classes a -", "different names")),
    (DataConfig, "classes", ("a", "b\n"), (r"classes a b\n", "different names")),
    (DataConfig, "classes", ("a", "\u202eb"), (r"classes a \u202eb", "different names")),
    (DataConfig, "dataset", "idx:\x1b]0;x\x07", (r"dataset idx:\x1b]0;x\x07", "the name of a data set")),
    (DataConfig, "classes", "ab", ("classes ab", "different names")),
    (TrainConfig, "epochs", 0, ("epochs 0", "whole number", "at least 1")),
    (TrainConfig, "batch_size", 0, ("batch_size 0",)),
    (TrainConfig, "lr", 0.0, ("lr 0", "positive")),
    (TrainConfig, "lr", 2**30, ("lr 1073741824", "positive", "below 2^30")),
    (TrainConfig, "init", "orthogonal", ("init orthogonal", "auto", "torch", "fluctuation", "calibrated")),
    (TrainConfig, "init_density", 0, ("init_density 0", "0.001 to 0.6")),
    (TrainConfig, "init_density", 0.61, ("init_density 0.61", "0.001 to 0.6")),
    (TrainConfig, "seed", -1, ("seed -1", "whole number", "at least 0")),
    (TrainConfig, "seed", 2**63, ("seed 9223372036854775808", "less than 2**63")),
    (TrainConfig, "eval_every", -1, ("eval_every -1",)),
    (TrainConfig, "engine", "fast", ("engine fast", "auto, scan or event")),
    (TrainConfig, "dtype", "float16", ("dtype float16", "float32 or float64")),
    (TrainConfig, "optimizer", "lion", ("optimizer lion", "adam", "adamw", "sgd")),
    (TrainConfig, "momentum", 0.9, ("momentum 0.9", "optimizer sgd")),
    (TrainConfig, "momentum", 1.0, ("momentum 1", "0 to below 1")),
    (TrainConfig, "schedule", "linear", ("schedule linear", "auto", "constant", "cosine")),
    (TrainConfig, "warmup", -1, ("warmup -1", "whole number", "at least 0")),
    (TrainConfig, "weight_decay", -0.1, ("weight_decay -0.1", "at least 0")),
    (TrainConfig, "clip_norm", 0.0, ("clip_norm 0", "positive")),
    (TrainConfig, "dropout", 1, ("dropout 1", "0 to below 1")),
    (TrainConfig, "ema", 1.0, ("ema 1", "above 0", "below 1")),
    (TrainConfig, "loss", "mse", ("loss mse", "ce_rate", "ce_membrane", "mse_count")),
    (TrainConfig, "label_smoothing", 1.0, ("label_smoothing 1", "0 to below 1")),
    (TrainConfig, "rate_target", 0.0, ("rate_target 0", "above 0", "below 1")),
    (TrainConfig, "microbatch", 48, ("microbatch 48", "auto, off", "divisor")),
    (TrainConfig, "rate_weight", 2.0, ("rate_weight 2", "rate_target")),
    (TrainConfig, "rate_weight", -2.0, ("rate_weight -2", "positive")),
]


@pytest.mark.parametrize("kind, field, value, facts", INVALID, ids=lambda v: str(v)[:40])
def test_errors_name_the_flag_and_its_value(kind, field, value, facts):
    with refusing(UserError, *facts):
        kind(**{field: value})


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
FIELDS = [(name, kind, one.name) for name, kind in KINDS.items() for one in fields(kind)]


@pytest.mark.parametrize(("part", "kind", "field"), FIELDS, ids=str)
def test_an_odd_value_is_accepted_or_refused_in_one_line(part, kind, field):
    """By the class and from config.json; accepted values can be hashed, decided and written."""
    for value in ODD:
        try:
            made = Config(**{part: kind(**{field: value})})
            assert hash(made) == hash(job_from_json(job_to_json(made), "config.json")) and decided(made)
        except UserError as error:
            assert str(error).startswith(f"{field} ")
            assert str(error).isprintable() and len(str(error)) < 400
        try:
            text = json.dumps({"schema_version": SCHEMA_VERSION, part: {field: value}})
        except (TypeError, ValueError):  # JSON can't represent it
            continue
        with suppress(UserError):
            job_from_json(text, "config.json")


def test_mse_count_needs_a_spike_readout():
    Config(ModelConfig(readout="membrane"), train=TrainConfig(loss="ce_membrane"))
    with refusing(UserError, "readout membrane", "spikes", "loss mse_count"):
        Config(ModelConfig(readout="membrane"), train=TrainConfig(loss="mse_count"))


def test_default_weight_decay_and_rate_weight():
    assert [TrainConfig(optimizer=name).decay for name in ("adam", "adamw", "sgd")] == [0.0, 0.01, 0.0]
    assert TrainConfig(optimizer="adamw", weight_decay=0).decay == 0
    assert TrainConfig(rate_target=0.1).rate == (0.1, 10.0)
    assert TrainConfig(rate_target=0.1, rate_weight=0.5).rate == (0.1, 0.5)


def test_micro_batches_and_a_rate_target_exclude_each_other():
    assert TrainConfig(microbatch=128, rate_target=0.1).part == 128
    with refusing(UserError, "microbatch 64", "auto", "off", "rate_target"):
        TrainConfig(microbatch=64, rate_target=0.1)


@pytest.mark.parametrize("part", ["model", "data", "train"])
def test_a_part_of_the_wrong_type_is_named(part):
    with refusing(UserError, part, f"{part.title()}Config"):
        Config(**{part: {"lr": 1}})
