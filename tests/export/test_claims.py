"""The settings that a manifest holds are those by which a bundle can be proven again."""

import numpy as np
import pytest

from csnn_jax.data import Split
from csnn_jax.errors import UserError
from export.claims import Settings

GOOD = {"opset": 20, "images": 3, "effort": "quick", "drop_silent": False}


def test_settings_are_read_from_a_manifest():
    assert Settings.read(GOOD | {"accuracy_images": 3}) == Settings(20, 3, "quick")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opset": "20"}, "settings.opset is '20', expected a whole number of at least 1"),
        ({"images": True}, "settings.images is True, expected a whole number of at least 1"),
        ({"images": 0}, "settings.images is 0, expected a whole number of at least 1"),
        ({"drop_silent": 1}, "settings.drop_silent is 1, expected true or false"),
        ({"effort": None}, "settings.effort is None, expected quick, usual, thorough"),
    ],
)
def test_other_settings_are_refused(change, message):
    with pytest.raises(UserError) as caught:
        Settings.read(GOOD | change)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("effort", "images", "count"),
    [("quick", 3, 100), ("quick", 200, 200), ("usual", 3, 1000), ("usual", 3000, 1200), ("thorough", 3, 1200)],
)
def test_accuracy_is_measured_on_as_many_images_as_the_effort_says(effort, images, count):
    test = Split(np.zeros((1200, 2, 2, 1), np.uint8), np.arange(1200))
    assert len(Settings(20, images, effort).split(test).labels) == count
