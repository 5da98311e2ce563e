"""The settings that a manifest holds are those by which a bundle can be proven again."""

import numpy as np
import pytest

from csnn_jax.data import Split
from export.claims import Settings


def test_settings_are_read_from_a_manifest():
    recorded = {"opset": 20, "images": 3, "effort": "quick", "time_steps": None, "drop_silent": False}
    assert Settings.read(recorded | {"accuracy_images": 3}) == Settings(20, 3, "quick")


@pytest.mark.parametrize(
    ("effort", "images", "count"),
    [("quick", 3, 100), ("quick", 200, 200), ("usual", 3, 1000), ("usual", 3000, 1200), ("thorough", 3, 1200)],
)
def test_accuracy_is_measured_on_as_many_images_as_the_effort_says(effort, images, count):
    test = Split(np.zeros((1200, 2, 2, 1), np.uint8), np.arange(1200))
    assert len(Settings(20, images, effort).split(test).labels) == count
