import json

import pytest
from configs import CONFIGS
from hypothesis import given
from refusals import refusing

from csnn_jax.config import Config, ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.config_json import from_json, job_from_json, job_to_json, to_json


@given(CONFIGS)
def test_any_configuration_survives_json(config):
    assert job_from_json(job_to_json(config), "config.json") == config
    assert from_json(ModelConfig, to_json(config.model), "metadata") == config.model


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"train": {"seed": ' + "1" * 5000 + "}}", "run/config.json: expected JSON: "),
        ("[" * 100_000, "run/config.json: expected JSON: "),
        ("null", "run/config.json: Config is None: expected an object of named fields"),
        ('{"model": 3}', "run/config.json: ModelConfig is 3: expected an object"),
        ('{"modle": {}}', "run/config.json: modle: Config has no such field, expected one of data, model, train"),
        (
            '{"model": {"betta": 0.5}}',
            "run/config.json: betta: ModelConfig has no such field, expected one of alpha, ",
        ),
        ('{"model": {"beta": NaN}}', "run/config.json: beta nan: expected a number from 0 to 1"),
        ('{"model": {"hidden": [[1]]}}', "run/config.json: hidden [1]: expected positive whole numbers"),
        ('{"train": {"lr": "fast"}}', "run/config.json: lr 'fast': expected a positive number"),
    ],
)
def test_bad_json_is_refused_in_one_line_that_names_the_file(text, message):
    with pytest.raises(UserError) as caught:
        from_json(Config, text, "run/config.json")
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_fields_left_out_take_their_defaults():
    assert from_json(Config, '{"model": {"time_steps": 7}}', "x") == Config(ModelConfig(time_steps=7))


@pytest.mark.parametrize("version", [1, "2", True, None])
def test_another_schema_is_refused(version):
    text = json.dumps(json.loads(job_to_json(Config())) | {"schema_version": version})
    with refusing(UserError, f"schema_version {version!r}", 2):
        job_from_json(text, "x")
