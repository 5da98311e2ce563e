"""If the images aren't available, only the form of their figures is checked."""

import pytest

from export import manifest
from export.proof.other_images import other_images

FOUND = {"images": 4, "spikes": 90, "different_spikes": 0, "accuracy": 0.5, "first": {"counts": [1, 2]}, "bytes": 7}


def told(changes):
    return [*manifest.differences(FOUND | changes, FOUND, rule=other_images)]


def test_counts_of_other_images_may_vary_but_differences_may_not():
    assert told({"images": 32, "spikes": 720, "accuracy": 0.97}) == []
    assert told({"different_spikes": 1}) == ["different_spikes is 0, manifest.json says 1"]
    assert told({"bytes": 8}) == ["bytes is 7, manifest.json says 8"]
    assert told({"first": {"counts": [1, 3]}}) == ["first.counts[1] is 2, manifest.json says 3"]


@pytest.mark.parametrize("value", ["many", None, True, -1, float("nan")])
def test_values_that_are_no_figures_are_reported(value):
    (line,) = told({"spikes": value})
    assert line == f"spikes: is {value!r}, expected a figure like 90"
