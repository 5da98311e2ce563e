"""The settings in a manifest are enough to prove a bundle again."""

from dataclasses import replace

import numpy as np
from refusals import refusing

from csnn_jax.config import Config, ModelConfig
from csnn_jax.data import Split
from csnn_jax.errors import UserError
from export.settings import Settings, for_data

OTHER = ModelConfig(input_shape=(12, 10, 2), conv_channels=(5,), hidden=(6,), time_steps=12)


def test_accuracy_is_measured_on_as_many_images_as_the_effort_specifies():
    test = Split(np.zeros((1200, 2, 2, 1), np.uint8), np.arange(1200))
    for effort, images, count in (("quick", 3, 100), ("quick", 200, 200), ("usual", 3000, 1200), ("thorough", 3, 1200)):
        assert len(Settings(20, images, effort).split(test).labels) == count


def test_data_with_a_time_axis_determine_the_number_of_steps():
    frames = np.zeros((2, 9, *OTHER.input_shape), np.uint8)
    config = for_data(Config(OTHER), Split(frames, np.zeros(2, int)))
    assert config.model.time_steps == 9 != OTHER.time_steps
    assert for_data(Config(OTHER), Split(frames[:, 0], np.zeros(2, int))).model == OTHER


def test_a_window_that_would_fill_the_memory_is_refused():
    test = Split(np.zeros((2, *OTHER.input_shape), np.uint8), np.zeros(2, int))
    long = replace(OTHER, time_steps=10_001)
    assert Settings(20, 1, "quick", 10_000).fitted(Config(long), test).model.time_steps == 10_000
    with refusing(UserError, "time_steps 10001", 10_000):
        Settings(20, 1, "quick").fitted(Config(long), test)
