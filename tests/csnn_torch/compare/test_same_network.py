"""Equal networks stay within every bound of membranes, spikes and gradients, and every kind of mutation breaks one."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from csnn_jax.config import ModelConfig
from csnn_jax.engine import scan
from csnn_jax.network import layers, library, neuron
from csnn_jax.network.model import from_tensors
from csnn_jax.runs.equality import Place
from csnn_torch import model as companion
from csnn_torch.compare import same_network
from csnn_torch.compare.cases import Case
from csnn_torch.compare.same_network import compare_gradients, compare_spikes, of_surrogates, steady

pytestmark = pytest.mark.numeric


def broken(results):
    """The bounds that don't hold."""
    return [check for result in results for check in result.checks() if not check.holds]


def compared(case, engines=("scan",)):
    results = compare_spikes(case, engines)
    assert all(result.counted or result.refused for result in results)
    return results


def test_equal_networks_stay_within_every_bound(case):
    results = compared(case, ("scan", "event"))
    assert broken(results) == [] and [r.comparison.first for r in results] == [None] * 2
    for kind in ("spikes", "membranes"):
        assert all(r.figures[kind] == 6 * 8 * (64 + 12 + 4) and r.refused is None for r in results)


def test_equal_networks_with_other_neurons_stay_within_every_bound(other):
    results = compared(other, ("scan", "event"))
    assert [r.comparison.first for r in results] == [None] * 2
    runs = other.config.neuron == "leaky" and not other.config.per_channel
    assert results[0].refused is None and (results[1].refused is None) == runs
    last = "lif3" in results[0].densities
    assert last == (other.config.output == "spiking") and broken(results) == []


def test_a_spike_at_the_threshold_is_found_and_located(case, monkeypatch, recompiled):
    def at_least(kind, values, *rest):
        state, _ = neuron.fire(kind, values, *rest)
        return state, (state["mem"] >= values["threshold"]).astype(state["mem"].dtype)  # should be >

    monkeypatch.setattr(library, "fire", at_least)
    (result,) = compared(case)
    assert result.figures["different_spikes"] > 0 and "run, scan: spikes that differ" in [
        check.name for check in broken([result])
    ]
    first = result.comparison.first
    assert first.place[:3] == (0, 0, 0) and len(first.place.neuron) == 3
    assert first.values == {"spike": (0, 1), "membrane": (1, 1)}


def test_a_membrane_one_rounding_off_is_found_even_if_no_spike_differs(case, monkeypatch, recompiled):
    def off(*step):
        state, fired = neuron.fire(*step)
        membrane = state["mem"]
        return state | {"mem": membrane.at[5, ..., 3].set(jnp.nextafter(membrane[5, ..., 3], 9))}, fired

    monkeypatch.setattr(library, "fire", off)
    (result,) = compare_spikes(case, ("scan",))
    assert [check.name for check in broken([result])] == ["run, scan: membranes that differ"]
    first = result.comparison.first
    assert (result.figures["different_spikes"], first.place) == (0, Place(0, 0, 5, (3, 0, 0), "lif1"))
    theirs, ours = first.values["membrane"]
    assert 0 < ours - theirs < 1e-6


def test_densities_of_images_with_a_time_axis_use_their_own_number_of_steps(case):
    still = replace(case, config=replace(case.config, time_steps=20))
    frames = replace(case, images=np.repeat(case.images[:, None], 20, axis=1))  # the configuration has 8 steps
    (expected,), (of_frames,) = compared(still), compared(frames)
    assert of_frames.densities == expected.densities and of_frames.figures == expected.figures
    assert broken(both := compared(frames, ("scan", "event"))) == [] and all(r.comparison.first is None for r in both)
    divided = replace(frames, config=replace(case.config, scale=2.0, input_bits=1, threshold=0.5))
    why = [result.refused for result in compared(divided, ("scan", "event"))]
    assert why == [None, "the event engine needs frames of whole numbers from 0 to 15, but these are divided by 2"]


def test_predictions_are_read_from_membranes_if_the_network_is(case, monkeypatch, recompiled):
    def less(kind, values, state, currents, *rest):
        state, fired = neuron.fire(kind, values, state, currents, *rest)
        (current,) = currents
        output = current.ndim == 2 and current.shape[1] == 4
        return ({"mem": -state["mem"]} if output else state), fired

    read = replace(case, config=replace(case.config, readout="membrane"))
    assert compared(read)[0].comparison.predictions.different == 0
    monkeypatch.setattr(library, "fire", less)
    model, network = from_tensors(case.config, case.tensors), case.in_snntorch("float32")
    ours = scan.trace(model, case.pixels("float32"))[1]
    theirs = companion.trace(network, companion.channels_first(case.pixels("float32")), case.config.time_steps)
    for one, results in (("membranes", compare_spikes(read, ("scan",))), ("spikes", compare_spikes(case, ("scan",)))):
        scores = [np.asarray(getattr(side, one)["lif3"]).sum(0).argmax(1) for side in (ours, theirs)]
        assert results[0].comparison.predictions.different == (scores[0] != scores[1]).sum()
    assert compare_spikes(read, ("scan",))[0].comparison.predictions.different > 0


def test_chunks_of_images_add_up(case, monkeypatch, recompiled):
    def forgetful(kind, values, *rest):
        return neuron.fire(kind, {**values, "beta": 0.9 * values["beta"]}, *rest)

    monkeypatch.setattr(library, "fire", forgetful)
    (whole,) = compared(case)
    assert whole.comparison.first is not None
    monkeypatch.setattr(same_network, "CHUNK", 4)  # the second chunk has two images
    assert compared(case) == [whole]


def test_both_sides_get_pixels_of_0_to_1_time_major(case):
    assert case.pixels("float64").dtype == np.float64 and set(np.unique(case.pixels("float32"))) == {0, 1}
    frames = replace(case, images=np.stack([case.images, 0 * case.images, case.images], axis=1))
    assert frames.pixels("float32", slice(2, 4)).shape == (3, 2, 8, 8, 1)
    np.testing.assert_array_equal(frames.pixels("float32")[2], case.pixels("float32"))
    rate = replace(case, config=replace(case.config, encoding="rate"))
    np.testing.assert_array_equal(rate.pixels("float32")[0], case.pixels("float32"))  # pixels of 0 and 1 aren't random
    assert rate.pixels("float64").shape == (8, 6, 8, 8, 1)
    floats = replace(case, images=case.pixels("float32") + np.float32(1e-3))
    np.testing.assert_array_equal(floats.pixels("float32"), case.pixels("float32"))


def test_equal_gradients_stay_within_every_bound(case):
    gradients = list(compare_gradients(case, ("scan", "event"), ("fast_sigmoid",)))
    assert broken(gradients) == [] and sum(len(result.checks()) for result in gradients) == 3
    assert [r.side for r in gradients if r.refused] == ["event"]  # in float64


def test_equal_gradients_of_other_neurons_stay_within_every_bound(other):
    gradients = list(compare_gradients(steady(other, 4), ("scan",), ("atan",)))
    assert broken(gradients) == [] and sum(len(result.checks()) for result in gradients) == 2
    learned = {name for node in other.config.graph.neurons for name in node.operation.learned}
    assert {name.split(".")[1] for name in gradients[0].errors} == {"weight", "bias"} | learned


def test_a_pool_that_splits_the_gradient_among_ties_is_found(case, monkeypatch, recompiled):
    def maximum(x, bias, pool):
        return jnp.stack(layers._members(x + bias, pool)).max(0)

    monkeypatch.setattr(layers, "max_pool", maximum)
    (forward,) = compare_spikes(case, ("scan",))
    assert forward.counted and broken([forward]) == []  # the forward pass is the same
    gradients = [g for g in compare_gradients(case, ("scan",), ("fast_sigmoid",)) if g.dtype == "float64"]
    assert [check.name.split(":")[0] for check in broken(gradients)] == ["run, fast_sigmoid, scan, float64"]


def test_gradients_are_compared_on_images_with_equal_spikes_in_both_types():
    """In the third step, the membrane of a pixel of 112 equals the threshold in float32 and exceeds it in float64."""
    beta, current = np.float32(0.9), np.float32(112 / 256)
    threshold = float(beta * (beta * current + current) + current)
    dense = {"conv_channels": (), "hidden": (), "num_classes": 2, "bias": False}
    config = ModelConfig((1, 1, 1), **dense, time_steps=6, beta=0.9, threshold=threshold)
    tensors = {"fc1.weight": np.array([[1.0], [0.25]], np.float32)}
    for pixels, count, chosen in (
        ((3, 112, 40, 112, 7), 2, (3, 40)),
        ((3, 112, 40, 112, 7), 4, (3, 40, 7)),
        ((112, 112, 112), 2, (112, 112)),
    ):
        images = np.array(pixels, np.uint8).reshape(-1, 1, 1, 1)
        few = steady(Case("run", config, tensors, images, np.array(pixels)), count)
        assert tuple(few.images.ravel()) == tuple(few.labels) == chosen


def test_a_surrogate_that_is_zero_near_the_threshold_is_compared_without_reset(case):
    gradients = list(of_surrogates(case, (), ("atan", "sparse_fast_sigmoid"), 6))
    assert list(dict.fromkeys((g.network, g.surrogate) for g in gradients)) == [
        ("run", "atan"),
        ("run, reset none", "sparse_fast_sigmoid"),
    ]
    assert all(np.isfinite(g.worst) for g in gradients)
    unreset = replace(case, config=replace(case.config, reset="none"))
    (name,) = {g.network for g in of_surrogates(unreset, (), ("sparse_fast_sigmoid",), 6)}
    assert name == "run"
