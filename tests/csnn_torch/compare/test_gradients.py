"""Gradients of both sides: equal networks stay within every bound, and a different rule doesn't."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from comparisons import broken

from csnn_jax.config import ModelConfig
from csnn_jax.network import layers
from csnn_torch.compare.cases import Case
from csnn_torch.compare.same_network import compare_gradients, compare_spikes, of_surrogates, steady

pytestmark = pytest.mark.numeric


def test_equal_networks_stay_within_every_bound(case):
    found = list(compare_gradients(case, ("scan", "event"), ("fast_sigmoid",)))
    assert broken(found) == [] and sum(len(result.checks()) for result in found) == 3
    assert [r.side for r in found if r.refused] == ["event"]  # in float64


def test_equal_networks_with_other_neurons_stay_within_every_bound(other):
    found = list(compare_gradients(steady(other, 4), ("scan",), ("atan",)))
    assert broken(found) == [] and sum(len(result.checks()) for result in found) == 2
    learned = {name for node in other.config.graph.neurons for name in node.operation.learned}
    assert {name.split(".")[1] for name in found[0].errors} == {"weight", "bias"} | learned


def test_a_pool_that_splits_the_gradient_among_ties_is_found(case, monkeypatch):
    def maximum(x, bias, pool):
        return jnp.stack(layers._members(x + bias, pool)).max(0)

    monkeypatch.setattr(layers, "max_pool", maximum)
    (forward,) = compare_spikes(case, ("scan",))
    assert forward.counted and broken([forward]) == []  # the forward pass is the same
    found = [g for g in compare_gradients(case, ("scan",), ("fast_sigmoid",)) if g.dtype == "float64"]
    assert [check.name.split(":")[0] for check in broken(found)] == ["run, fast_sigmoid, scan, float64"]


def test_gradients_are_compared_on_images_with_equal_spikes_in_both_types():
    """In the third step, the membrane of a pixel of 112 equals the threshold in float32 and exceeds it in float64."""
    beta, current = np.float32(0.9), np.float32(112 / 256)
    threshold = float(beta * (beta * current + current) + current)
    dense = {"conv_channels": (), "hidden": (), "num_classes": 2, "bias": False}
    config = ModelConfig((1, 1, 1), **dense, time_steps=6, beta=0.9, threshold=threshold)
    tensors = {"fc1.weight": np.array([[1.0], [0.25]], np.float32)}
    for pixels, count, kept in (
        ((3, 112, 40, 112, 7), 2, (3, 40)),
        ((3, 112, 40, 112, 7), 4, (3, 40, 7)),
        ((112, 112, 112), 2, (112, 112)),
    ):
        images = np.array(pixels, np.uint8).reshape(-1, 1, 1, 1)
        few = steady(Case("run", config, tensors, images, np.array(pixels)), count)
        assert tuple(few.images.ravel()) == tuple(few.labels) == kept


def test_a_surrogate_that_is_zero_near_the_threshold_is_compared_without_reset(case):
    found = list(of_surrogates(case, (), ("atan", "sparse_fast_sigmoid"), 6))
    assert list(dict.fromkeys((g.network, g.surrogate) for g in found)) == [
        ("run", "atan"),
        ("run, reset none", "sparse_fast_sigmoid"),
    ]
    assert all(np.isfinite(g.worst) for g in found)
    unreset = replace(case, config=replace(case.config, reset="none"))
    (name,) = {g.network for g in of_surrogates(unreset, (), ("sparse_fast_sigmoid",), 6)}
    assert name == "run"
