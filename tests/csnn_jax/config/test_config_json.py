import json

import pytest
from configs import CONFIGS
from hypothesis import given
from refusals import refusing

from csnn_jax.config import Config, ModelConfig
from csnn_jax.config.job import job_from_json, job_to_json
from csnn_jax.errors import UserError
from csnn_jax.options import from_json, to_json


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
    with refusing(UserError, f"schema_version {version!r}", 2):
        job_from_json(text, "x")
