"""The command that repeats a run trains the same job."""

import shlex
from dataclasses import replace

from bundles import SMALL
from configs import CONFIGS
from digits import few_digits
from hypothesis import given, settings
from trainings import read_flags

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, TrainConfig, decided
from csnn_jax.report import origin


def trained(command: str) -> Config:
    """The job that a command trains."""
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "csnn_jax.train"]
    return read_flags(*words[3:]).config


def by_layer(config: Config) -> Config:
    """The job with a beta and a threshold for each layer; with a single layer, both forms have the same flag."""
    model = config.model
    return replace(config, model=replace(model, beta=model.each("beta"), threshold=model.thresholds))


@settings(max_examples=12)  # reading flags takes a third of a second
@given(CONFIGS)
def test_the_command_trains_the_same_job(config):
    model = replace(config.model, input_bits=None)  # determined by the data
    done = decided(replace(config, model=model, data=replace(config.data, dataset="tfds:any")))
    assert by_layer(decided(trained(origin.repeating(done, None)))) == by_layer(done)


def test_the_command_omits_what_the_data_determine(tmp_path):
    images = data.load(few_digits(tmp_path, train=20, test=8), (28, 28, 1))
    asked = Config(SMALL, DataConfig(images.name), TrainConfig(lr=5e-3, seed=4))
    config = decided(replace(asked, model=data.fit_model(SMALL, images)))
    assert origin.repeating(config, images) == (
        "python -m csnn_jax.train --dataset idx:DIR --conv-channels 4 --hidden 16 --pool avg --reset zero "
        "--time-steps 6 --seed 4"
    )
