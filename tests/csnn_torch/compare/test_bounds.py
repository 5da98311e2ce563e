"""What holds, what does not, and how far two sets of tensors lie apart."""

import math

import numpy as np
import pytest

from csnn_torch.compare import bounds
from csnn_torch.compare.bounds import Check


@pytest.mark.parametrize(
    ("value", "holds"), [(0.01, True), (0.6, True), (0.0099, False), (0.61, False), (math.nan, False)]
)
def test_a_value_on_the_bound_holds_and_nan_does_not(value, holds):
    assert Check("density", value, *bounds.DENSITY).holds is holds
    assert bounds.fires({"lif1": 0.1, "lif2": value}) is holds


def test_a_check_says_what_was_expected():
    assert str(Check("share", 2e-6, 0, 1e-6)) == "share: 2e-06, expected at most 1e-06"
    assert str(Check("density", 0.7, 0.01, 0.6)) == "density: 0.7, expected 0.01 to 0.6"


def test_a_distance_is_relative_and_of_a_zero_tensor_it_is_none():
    reference = {"a": np.array([3.0, 4.0]), "b": np.zeros(2)}
    found = bounds.distances({"a": np.array([3.0, 4.5], np.float32), "b": np.ones(2), "more": np.ones(1)}, reference)
    assert found["a"] == pytest.approx(0.1) and math.isnan(found["b"]) and list(found) == ["a", "b"]
