"""The gradients of both sides: equal ones break no bound, another rule does."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from comparisons import broken

from csnn_jax.network import layers
from csnn_torch.compare import gradients, spikes

pytestmark = pytest.mark.numeric


def test_equal_networks_break_no_bound(case):
    found = list(gradients.compare(case, ("scan", "event"), ("fast_sigmoid", "leaky_spike")))
    assert broken(found) == [] and sum(len(result.checks()) for result in found) == 6
    assert [r.side for r in found if r.refused] == ["event", "event"]  # in float64


def test_a_pool_that_splits_the_gradient_among_ties_is_found(case, monkeypatch):
    def maximum(x, bias, pool):
        return jnp.stack(layers._members(x + bias, pool)).max(0)

    monkeypatch.setattr(layers, "max_pool", maximum)
    (forward,) = spikes.compare(case, ("scan",), "float64")
    assert forward.counted and broken([forward]) == []  # the forward pass is the same
    found = [g for g in gradients.compare(case, ("scan",), ("fast_sigmoid",)) if g.dtype == "float64"]
    assert [check.name.split(":")[0] for check in broken(found)] == ["run, fast_sigmoid, scan, float64"]


def test_gradients_are_compared_on_images_that_flip_no_spike_between_the_types(case, monkeypatch):
    real = gradients._spikes

    def flipped(case, dtype, rows):
        layers = real(case, dtype, rows)
        if dtype == "float32" and rows.start in (0, 2):
            layers[1][3, 1, 5] = 1 - layers[1][3, 1, 5]  # of the chunk's second image
        return layers

    monkeypatch.setattr(gradients, "_spikes", flipped)
    few = gradients.steady(case, 2)
    np.testing.assert_array_equal(few.images, case.images[[0, 2]])
    np.testing.assert_array_equal(few.labels, case.labels[[0, 2]])
    np.testing.assert_array_equal(gradients.steady(case, 6).images, case.images)  # too few: all of them


def test_a_surrogate_that_is_zero_near_the_threshold_is_compared_where_nothing_resets(case):
    found = list(gradients.of_surrogates(case, (), ("atan", "sparse_fast_sigmoid")))
    assert list(dict.fromkeys((g.network, g.surrogate) for g in found)) == [
        ("run", "atan"),
        ("run, reset none", "sparse_fast_sigmoid"),
    ]
    assert all(np.isfinite(g.worst) for g in found)
    unreset = replace(case, config=replace(case.config, reset="none"))
    (name,) = {g.network for g in gradients.of_surrogates(unreset, (), ("sparse_fast_sigmoid",))}
    assert name == "run"
