"""The spikes of both sides: equal ones break no bound, and every kind of mutation breaks one."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from comparisons import broken

from csnn_jax.network import model as jax_model
from csnn_jax.network.neuron import leaky
from csnn_torch.compare import spikes
from csnn_torch.compare.results import Spikes

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


def test_a_threshold_that_is_off_by_one_percent_is_found(case, monkeypatch):
    monkeypatch.setattr(jax_model, "leaky", lambda u, i, beta, theta, *rest: leaky(u, i, beta, 0.99 * theta, *rest))
    assert broken(compared(case)) and broken(compared(case, "float32"))


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


def test_more_images_decide_where_one_rounding_breaks_the_bound(case, monkeypatch):
    asked = []

    def compare(case, engines, dtype):
        asked.append((engines, len(case.images)))
        different = 5 if len(asked) == 1 else 7
        one = Spikes("run", "", dtype, len(case.images), None, 10**6, different, {"lif1": 0.1})
        sizes = (1e-7, 1e-2)  # of which the second is no rounding
        return [replace(one, engine=e, farthest=size) for e, size in zip(engines, sizes, strict=False)]

    monkeypatch.setattr(spikes, "compare", compare)
    found = spikes.decided(case, ("scan", "event"), "float32", 2)
    assert asked == [(("scan", "event"), 2), (("scan",), 6)]  # 6 images are all there are
    assert [r.different for r in found] == [7, 5] and len(broken(found)) == 3
    assert not replace(found[0], different=100).undecided and not replace(found[0], dtype="float64").undecided


def test_a_silent_network_proves_nothing(case):
    silent = replace(case, tensors={name: 0 * tensor for name, tensor in case.tensors.items()})
    (result,) = spikes.compare(silent, ("scan",), "float64")
    assert not result.counted and result.checks() == []


def test_predictions_may_differ_where_two_classes_tie_within_one_spike(case):
    total = spikes.Total(case, "scan", "float32")
    total.add_predictions(np.array([[5, 6], [5, 7], [5, 4]]), np.array([[6, 5], [6, 5], [5, 4]]))
    assert (total.near_ties, total.predictions) == (1, 1)
