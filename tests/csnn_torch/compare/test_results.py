"""Which bounds a result has, when they hold, and what it says of itself."""

import math
from dataclasses import replace

import numpy as np
import pytest
from comparisons import broken

from csnn_torch.compare import bounds
from csnn_torch.compare.results import LAST, Flip, GradientResult, SpikeResult, Trajectory, groups

FLIP = Flip("lif1", 3, 0, (1, 2, 3), 1.0002, 0.9999, 2e-4)
SPIKES = SpikeResult("run", "event", "float32", 1, None, 10**7, 1, {"lif1": 0.1}, 1.0, 1, 2e-4, (FLIP,))
GRADIENTS = GradientResult("run", "atan", "scan", "float32", 4, None, {"a": 1e-4, "b": 2e-3}, True)
TRAJECTORY = Trajectory(
    "the run's",
    "float64",
    "scan engine",
    8,
    1e-3,
    {"csnn_jax": [2.0, 1.5], "snntorch": [2.0, 1.5 + 2e-9]},
    {"a": 1e-12, "b": 3e-9},
    None,
    {"lif1": 0.2, "lif2": 0.001},
    seed=0,
    time_steps=25,
)


@pytest.mark.parametrize(
    ("value", "holds"), [(0.01, True), (0.6, True), (0.0099, False), (0.61, False), (math.nan, False)]
)
def test_a_value_on_the_bound_holds_and_nan_does_not(value, holds):
    assert bounds.Check("density", value, *bounds.DENSITY).holds is holds
    assert bounds.fires({"lif1": 0.1, "lif2": value}) is holds


def test_a_distance_is_relative_and_of_a_zero_tensor_it_is_none():
    reference = {"a": np.array([3.0, 4.0]), "b": np.zeros(2)}
    found = bounds.distances({"a": np.array([3.0, 4.5], np.float32), "b": np.ones(2), "more": np.ones(1)}, reference)
    assert found["a"] == pytest.approx(0.1) and math.isnan(found["b"]) and list(found) == ["a", "b"]


def test_a_float32_spike_may_differ_only_by_a_rounding():
    assert [check.name.split(": ")[1] for check in broken([SPIKES])] == [
        "distance of a first different spike from the threshold"
    ]
    assert broken([replace(SPIKES, farthest=1e-6)]) == []
    assert [check.value for check in broken([replace(SPIKES, dtype="float64")])] == [1e-7]
    refused = SpikeResult("run", "event", "float64", 1, "float32 only")
    for proves_nothing in (refused, replace(SPIKES, densities={"lif1": 0.0})):
        assert not proves_nothing.counted and proves_nothing.checks() == []


def test_a_few_roundings_too_many_are_undecided():
    few = replace(SPIKES, different=11, farthest=1e-6)
    assert few.undecided
    for change in (
        {"different": 10},  # within the bound
        {"different": 201},  # more than chance
        {"farthest": 1e-2},  # no rounding
        {"densities": {"lif1": 0.0}},
        {"dtype": "float64"},
    ):
        assert not replace(few, **change).undecided, change


def test_the_worst_gradient_is_bounded_where_the_spikes_are_the_same():
    assert [check.value for check in broken([GRADIENTS])] == [2e-3]
    assert broken([replace(GRADIENTS, errors={"a": bounds.GRADIENT["float32"]})]) == []
    for without in ({"same_spikes": False}, {"side": "snntorch"}, {"refused": "why", "errors": {}}):
        assert replace(GRADIENTS, **without).checks() == []
    assert math.isnan(replace(GRADIENTS, errors={"a": math.nan, "b": 0.0}).worst)
    assert broken([replace(GRADIENTS, dtype="float64", same_spikes=False, errors={"a": math.nan})])


def test_a_training_in_float64_must_stay_together_and_fire():
    assert [check.name.partition(": ")[2] for check in broken([TRAJECTORY])] == [
        "largest difference of the losses",
        "largest distance of a parameter",
        "density of lif2",
    ]
    assert not TRAJECTORY.counted and TRAJECTORY.as_json()["differences"] == TRAJECTORY.differences
    assert replace(TRAJECTORY, dtype="float32").checks() == []
    one, other = replace(TRAJECTORY, dtype="float32"), replace(TRAJECTORY, dtype="float32", seed=1)
    assert groups([one, TRAJECTORY, other]) == [[one, other], [TRAJECTORY]]
    losses = {"csnn_jax": [9.0] + [2.0] * LAST, "snntorch": [3.0] + [1.5] * LAST}
    assert replace(TRAJECTORY, losses=losses).apart == 0.5
