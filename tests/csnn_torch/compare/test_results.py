"""Which bounds apply to a result, when they hold, and how results are described."""

import math
from dataclasses import replace

import numpy as np
import pytest
from comparisons import broken

from csnn_jax.runs.equality import Place
from csnn_torch.compare import bounds
from csnn_torch.compare.results import LAST, Difference, GradientResult, SpikeResult, Trajectory, groups

SPIKES = SpikeResult("run", "event", 1, None, 10**7, densities={"lif1": 0.1})
GRADIENTS = GradientResult("run", "atan", "scan", "float32", 4, None, {"a": 1e-4, "b": 2e-3})
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


def test_a_distance_is_relative_and_nan_for_a_zero_tensor():
    reference = {"a": np.array([3.0, 4.0]), "b": np.zeros(2)}
    found = bounds.distances({"a": np.array([3.0, 4.5], np.float32), "b": np.ones(2), "more": np.ones(1)}, reference)
    assert found["a"] == pytest.approx(0.1) and math.isnan(found["b"]) and list(found) == ["a", "b"]


def test_a_single_difference_breaks_a_bound():
    assert broken([SPIKES]) == [] and len(SPIKES.checks()) == 3
    for what in ("membranes", "spikes", "predictions"):
        assert [str(check) for check in broken([replace(SPIKES, **{what: 1})])] == [
            f"run, event: {what} that differ: 1, expected at most 0"
        ]
    refused = SpikeResult("run", "event", 1, "float32 only")
    for proves_nothing in (refused, replace(SPIKES, densities={"lif1": 0.0}, spikes=7)):
        assert not proves_nothing.counted and proves_nothing.checks() == []


def test_the_first_difference_is_by_step_then_layer_then_image():
    place = Place(3, 9, 7, (1,))
    later = place._replace(step=4, layer=0), place._replace(layer=10, image=0), place._replace(image=8)
    one = Difference(place, 1.0, math.nan)
    assert min(one, *(replace(one, place=other) for other in later)) == one
    assert str(replace(SPIKES, membranes=2, first=one)) == (
        "run, event: 2 of 10000000 membranes differ, 0 spikes, 0 of 1 predictions; "
        "first in step 3, lif10, image 7, neuron 1: membrane 1, snnTorch's nan"
    )


def test_the_worst_gradient_is_bounded():
    assert [check.value for check in broken([GRADIENTS])] == [2e-3]
    assert broken([replace(GRADIENTS, errors={"a": bounds.GRADIENT["float32"]})]) == []
    for without in ({"side": "snntorch"}, {"refused": "why", "errors": {}}):
        assert replace(GRADIENTS, **without).checks() == []
    assert math.isnan(replace(GRADIENTS, errors={"a": math.nan, "b": 0.0}).worst)
    assert broken([replace(GRADIENTS, dtype="float64", errors={"a": math.nan})])


def test_training_in_float64_must_agree_and_fire():
    assert [check.name.partition(": ")[2] for check in broken([TRAJECTORY])] == [
        "largest difference of the losses",
        "largest difference of a parameter",
        "density of lif2",
    ]
    assert not TRAJECTORY.counted and TRAJECTORY.as_json()["differences"] == TRAJECTORY.differences
    assert replace(TRAJECTORY, dtype="float32").checks() == []
    one, other = replace(TRAJECTORY, dtype="float32"), replace(TRAJECTORY, dtype="float32", seed=1)
    assert groups([one, TRAJECTORY, other]) == [[one, other], [TRAJECTORY]]
    losses = {"csnn_jax": [9.0] + [2.0] * LAST, "snntorch": [3.0] + [1.5] * LAST}
    assert replace(TRAJECTORY, losses=losses).apart == 0.5
