"""The settings that a manifest holds are those by which a bundle can be proven again."""

import numpy as np
import pytest

from csnn_jax.data import Split
from csnn_jax.errors import UserError
from export.claims import Settings

GOOD = {"opset": 20, "images": 3, "quick": True}


def test_settings_are_read_from_a_manifest():
    assert Settings.read(GOOD | {"accuracy_images": 3}) == Settings(20, 3, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opset": "20"}, "settings.opset is '20', expected int"),
        ({"images": True}, "settings.images is True, expected int"),
        ({"images": 0}, "settings.images is 0, expected at least 1"),
        ({"quick": None}, "settings.quick is None, expected bool"),
    ],
)
def test_other_settings_are_refused(change, message):
    with pytest.raises(UserError) as caught:
        Settings.read(GOOD | change)
    assert str(caught.value) == message


@pytest.mark.parametrize(("quick", "count"), [(True, 3), (False, 5)])
def test_a_quick_proof_measures_the_accuracy_on_few_images(quick, count):
    test = Split(np.zeros((5, 2, 2, 1), np.uint8), np.arange(5))
    assert len(Settings(20, 3, quick).split(test).labels) == count
