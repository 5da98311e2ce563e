"""The spikes of both sides: equal ones break no bound, and every kind of mutation breaks one."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from comparisons import broken

from csnn_jax.network import model as jax_model
from csnn_torch.compare import spikes

pytestmark = pytest.mark.numeric


def compared(case, dtype="float64", engines=("scan",)):
    found = spikes.compare(case, engines, dtype)
    assert all(result.counted or result.refused for result in found)
    return found


def test_equal_networks_break_no_bound(case):
    results = [*compared(case), *compared(case, "float32", ("scan", "event"))]
    assert broken(results) == [] and [r.different for r in results] == [0, 0, 0]
    assert all(r.compared == 6 * 8 * (64 + 12 + 4) and r.membranes == 1 and r.refused is None for r in results)


def test_a_spike_at_the_threshold_is_found_and_located(case, monkeypatch):
    def at_least(membrane, current, beta, threshold, reset, derivative):
        membrane = beta * membrane + current - jnp.where(membrane >= threshold, threshold, 0)
        return membrane, (membrane >= threshold).astype(membrane.dtype)  # where it should be >

    monkeypatch.setattr(jax_model, "leaky", at_least)
    (result,) = compared(case)
    assert broken([result])[0].name == "run, scan, float64: share of spikes that differ"
    first = result.first[0]
    assert (first.layer, first.step, first.image) == ("lif1", 0, 0)
    assert first.ours == first.theirs == 1 and first.distance == 0
    assert len(first.neuron) == 3


def test_images_with_a_time_axis_have_the_density_of_their_own_steps(case):
    still = replace(case, config=replace(case.config, time_steps=20))
    frames = replace(case, images=np.repeat(case.images[:, None], 20, axis=1))  # the configuration says 8 steps
    (expected,), (found,) = compared(still), compared(frames)
    assert found.densities == expected.densities and found.compared == expected.compared
    assert [r.refused is None for r in compared(frames, "float32", ("scan", "event"))] == [True, False]


def test_predictions_are_read_from_membranes_where_the_network_is(case, monkeypatch):
    scores = []
    monkeypatch.setattr(spikes.Total, "add_predictions", lambda total, ours, theirs: scores.append((ours, theirs)))
    read = replace(case, config=replace(case.config, readout="membrane"))
    compared(read)
    compared(case)
    (ours, theirs), (counts, _) = scores
    np.testing.assert_array_equal(ours, theirs)
    assert np.issubdtype(counts.dtype, np.floating) and (counts == np.rint(counts)).all()
    assert not np.array_equal(ours, np.rint(ours)) and ours.shape == counts.shape


def test_chunks_of_images_add_up(case, monkeypatch):
    (whole,) = compared(case)
    monkeypatch.setattr(spikes, "CHUNK", 4)  # the second chunk has two images
    assert compared(case) == [whole]


def test_predictions_may_differ_where_two_classes_tie_within_one_spike(case):
    total = spikes.Total(case, "scan", "float32")
    total.add_predictions(np.array([[5, 6], [5, 7], [5, 4]]), np.array([[6, 5], [6, 5], [5, 4]]))
    assert (total.near_ties, total.predictions) == (1, 1)


def test_both_sides_get_pixels_of_0_to_1_time_major(case):
    assert case.pixels("float64").dtype == np.float64 and set(np.unique(case.pixels("float32"))) == {0, 1}
    frames = replace(case, images=np.stack([case.images, 0 * case.images, case.images], axis=1))
    assert frames.frames and frames.pixels("float32", slice(2, 4)).shape == (3, 2, 8, 8, 1)
    np.testing.assert_array_equal(frames.pixels("float32")[2], case.pixels("float32"))
    rate = replace(case, config=replace(case.config, encoding="rate"))
    np.testing.assert_array_equal(rate.pixels("float32")[0], case.pixels("float32"))  # of 0 and 1, certain
    assert rate.pixels("float64").shape == (8, 6, 8, 8, 1)
    floats = replace(case, images=(case.images / 255).astype(np.float32))
    np.testing.assert_array_equal(floats.pixels("float32"), case.pixels("float32"))
