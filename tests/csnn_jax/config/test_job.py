import dataclasses
import json
import math
from contextlib import suppress

import numpy as np
import pytest
from refusals import refusing

from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, decided
from csnn_jax.config.job import SCHEMA_VERSION, job_from_json, job_to_json
from csnn_jax.errors import UserError

KINDS = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig}

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


def test_a_rate_target_allows_one_micro_batch():
    assert TrainConfig(microbatch=128, rate_target=0.1).part == 128


@pytest.mark.parametrize("part", ["model", "data", "train"])
def test_a_part_of_the_wrong_type_is_named(part):
    with refusing(UserError, part, f"{part.title()}Config"):
        Config(**{part: {"lr": 1}})
