"""Figures whose images are not here have a form, and an approximate file's accuracy differs little."""

import pytest

from export import manifest
from export.proof.other_images import ANSWERS, approximate, other_images

FOUND = {"images": 4, "spikes": 90, "different_spikes": 0, "accuracy": 0.5, "first": {"counts": [1, 2]}, "bytes": 7}


def told(changes, rule=other_images):
    return [*manifest.differences(FOUND | changes, FOUND, rule=rule)]


def test_counts_of_other_images_agree_and_what_differs_in_them_does_not():
    assert told({"images": 32, "spikes": 720, "accuracy": 0.97}) == []
    assert told({"different_spikes": 1}) == ["different_spikes is 0, manifest.json says 1"]
    assert told({"bytes": 8}) == ["bytes is 7, manifest.json says 8"]
    assert told({"first": {"counts": [1, 3]}}) == ["first.counts[1] is 2, manifest.json says 3"]


@pytest.mark.parametrize("value", ["many", None, True, -1, float("nan")])
def test_what_is_no_figure_is_told(value):
    (line,) = told({"spikes": value})
    assert line == f"spikes: is {value!r}, expected a figure like 90"


def test_an_approximate_accuracy_may_differ_by_few_images_and_nothing_else_may():
    def rule(*figures):
        return approximate(*figures, 20)

    assert told({"accuracy": 0.5 + ANSWERS / 20}, rule) == told({"accuracy": 0.5 - ANSWERS / 20}, rule) == []
    assert told({"accuracy": 0.5 + (ANSWERS + 1) / 20}, rule) == ["accuracy: is 0.5, recorded as 0.65"]
    assert told({"accuracy": None}, rule) == ["accuracy is 0.5, manifest.json says null"]
    assert told({"spikes": 91}, rule) == ["spikes is 90, manifest.json says 91"]
