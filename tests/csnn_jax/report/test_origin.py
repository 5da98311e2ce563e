"""The command that repeats a run trains the same job."""

import shlex
from dataclasses import replace

import numpy as np
from bundles import SMALL, make_run
from commands import passed
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
    return replace(config, model=replace(model, beta=model.each("beta"), threshold=model.each("threshold")))


@settings(max_examples=8)  # reading flags takes a tenth of a second
@given(CONFIGS)
def test_the_command_trains_the_same_job(config):
    model = replace(config.model, input_bits=None)  # determined by the data
    done = decided(replace(config, model=model, data=replace(config.data, dataset="tfds:any")))
    assert by_layer(decided(trained(origin.repeating(done, None, "run")))) == by_layer(done)


def test_more_named_classes_than_the_default_number(tmp_path):
    names = tuple(f"class {number}" for number in range(12))
    run = make_run(tmp_path / "run", replace(SMALL, num_classes=12), "arrays", classes=names)
    images = np.random.default_rng(0).integers(0, 256, (24, 28, 28, 1), np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(24) % 12, classes=names)
    for flags, needed in (((), True), (("--dataset", f"arrays:{tmp_path / 'own.npz'}"), False)):
        passed("csnn_jax.report", run, "--out", tmp_path / "page.html", *flags)
        text = (tmp_path / "page.html").read_text()
        assert ("--hidden 16 --num-classes 12 --pool avg" in text) == needed  # in the command


def test_the_command_omits_what_the_data_determine(tmp_path):
    images = data.load(few_digits(tmp_path, train=20, test=8), (28, 28, 1))
    asked = Config(SMALL, DataConfig(images.name), TrainConfig(lr=5e-3, seed=4))
    config = decided(replace(asked, model=data.fit_model(SMALL, images)))
    assert origin.repeating(config, images, "run") == (
        "python -m csnn_jax.train --dataset idx:DIR --conv-channels 4 --hidden 16 --pool avg --reset zero "
        "--time-steps 6 --seed 4"
    )
