"""Which bounds apply to a result, when they hold, and how results are described."""

import math
from dataclasses import replace

import numpy as np
import pytest

from csnn_jax.config import ModelConfig
from csnn_jax.runs.equality import Comparison, Count, Difference, Place
from csnn_torch.compare import results
from csnn_torch.compare.results import LAST, GradientResult, SpikeResult, Trajectory, groups


def broken(results):
    """The bounds that don't hold."""
    return [check for result in results for check in result.checks() if not check.holds]


def spikes(fired=100, **different: int) -> SpikeResult:
    """A network of one layer that spikes, of whose values as many differ."""
    counts = {kind: Count(1000, different.get(kind, 0), (fired, 0)) for kind in ("spikes", "membranes")}
    predictions = Count(1, different.get("predictions", 0))
    model = ModelConfig((2, 2, 1), (), hidden=())
    comparison = Comparison(model, 1, 5, {"lif1": counts["spikes"]}, {"lif1": counts["membranes"]}, predictions)
    return SpikeResult("run", "event", 1, None, comparison)


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
    assert results.Check("density", value, *results.DENSITY).holds is holds
    assert results.fires({"lif1": 0.1, "lif2": value}) is holds


def test_a_distance_is_relative_and_nan_for_a_zero_tensor():
    reference = {"a": np.array([3.0, 4.0]), "b": np.zeros(2)}
    distances = results.distances(
        {"a": np.array([3.0, 4.5], np.float32), "b": np.ones(2), "more": np.ones(1)}, reference
    )
    assert distances["a"] == pytest.approx(0.1) and math.isnan(distances["b"]) and list(distances) == ["a", "b"]


def test_a_single_difference_breaks_a_bound():
    assert broken([spikes()]) == [] and len(spikes().checks()) == 3 and spikes().densities == {"lif1": 0.1}
    for what in ("membranes", "spikes", "predictions"):
        assert [str(check) for check in broken([spikes(**{what: 1})])] == [
            f"run, event: {what} that differ: 1, expected at most 0"
        ]
    refused = SpikeResult("run", "event", 1, "float32 only")
    for proves_nothing in (refused, spikes(fired=0, spikes=7)):
        assert not proves_nothing.counted and proves_nothing.checks() == []


def test_a_result_in_words():
    assert str(spikes()) == (
        "run, event: 0 of 1,000 spikes, 0 of 1,000 membranes and 0 of 1 predictions differ from those of snnTorch"
    )
    result = spikes(membranes=2)
    result.comparison.first = Difference(Place(3, 0, 7, (1,), "lif1"), {"membrane": (math.nan, 1.0)})
    assert str(result) == (
        "run, event: 0 of 1,000 spikes, 2 of 1,000 membranes (2 in lif1) and 0 of 1 predictions differ from those of "
        "snnTorch; first at step 3, lif1, image 7, neuron 1: membrane 1, snnTorch's nan"
    )
    shown = result.as_json()
    assert (shown["membranes"], shown["different_membranes"], shown["first"]["node"]) == (1000, 2, "lif1")
    assert shown["first"]["csnn_jax"] == {"membrane": 1.0}


def test_the_worst_gradient_is_bounded():
    assert [check.value for check in broken([GRADIENTS])] == [2e-3]
    assert broken([replace(GRADIENTS, errors={"a": results.GRADIENT["float32"]})]) == []
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
