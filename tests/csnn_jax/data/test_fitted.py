"""Fitting a job to its data set."""

import numpy as np
from refusals import refusing

from csnn_jax.config import Config, ModelConfig
from csnn_jax.data import Split
from csnn_jax.data.datasets import check_names, fit_config, named
from csnn_jax.data.images import pixels_of
from csnn_jax.data.split import Dataset
from csnn_jax.errors import UserError


def dataset(*names: str) -> Dataset:
    split = Split(np.zeros((4, 5, 6, 1), np.uint8), np.arange(4) % len(names))
    return Dataset("images:shapes", split, None, split, names, pixels_of(split.images), ())


def test_a_job_takes_shape_and_names_from_its_data():
    config = fit_config(Config(), dataset("disc", "bar"))
    assert (config.model.input_shape, config.model.num_classes) == ((5, 6, 1), 2)
    assert config.data.classes == ("disc", "bar")


def test_consecutive_numbers_from_0_are_not_names():
    assert named(dataset("0", "1")) is None and named(dataset("1", "2")) == ("1", "2")
    assert fit_config(Config(ModelConfig()), dataset("0", "1")).data.classes is None


def test_other_names_or_another_order_are_refused():
    check_names("images:other", ("disc", "bar"), ("disc", "bar"))
    check_names("images:other", None, ("disc", "bar"))
    with refusing(UserError, "dataset images:other", 0, "bar", "disc"):
        check_names("images:other", ("bar", "disc"), ("disc", "bar"))
