"""The player gets the spikes and membranes of the trace. test_in_browser.py tests the player itself."""

import base64

import numpy as np
from bundles import SMALL
from layers import lone_layer

from csnn_jax.config import Pooling
from csnn_jax.report import film


def test_spikes_and_membranes_match_the_trace(measured):
    one, measurements = measured
    data = film.film(one, measurements).data
    steps = data["steps"]
    assert steps == SMALL.time_steps and [layer["name"] for layer in data["layers"]] == ["lif1", "lif2", "lif3"]
    assert len(data["examples"]) == len(measurements.examples)
    for shown, example in zip(data["examples"], measurements.examples, strict=True):
        assert (shown["label"], shown["answer"]) == (example.label, example.answer)
        for layer, spikes, membranes in zip(shown["layers"], example.spikes, example.membranes, strict=True):
            packed = np.frombuffer(base64.b64decode(layer["bits"]), np.uint8).reshape(len(layer["rows"]), -1)
            flat = spikes.reshape(steps, -1)
            np.testing.assert_array_equal(np.unpackbits(packed, axis=1)[:, :steps].T, flat[:, layer["rows"]])
            traces = [np.frombuffer(base64.b64decode(trace), "<f4") for trace in layer["traces"]]
            levels = membranes.reshape(steps, -1).T
            assert all(any((trace == level).all() for level in levels) for trace in traces)
        assert shown["layers"][-1]["rows"].tolist() == list(range(10))
        what = shown["layers"][-1]["what"]
        if one.sums_membranes:
            np.testing.assert_array_equal(np.cumsum(traces, 1)[:, -1], measurements.scores[example.index])
            assert what == "membranes of 10 neurons that never spike"
        else:
            assert f"{spikes.any(0).sum()} of 10 neurons spike" in what
    assert data["sums"] == one.sums_membranes
    assert [layer["threshold"] is None for layer in data["layers"]] == [False, False, one.sums_membranes]


def test_neurons_are_ordered_by_channel():
    neurons = lone_layer("conv1", "conv", (4, 4, 1), 3, pool=Pooling("max")).neurons
    assert film.in_order(np.arange(12), neurons).tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    assert film.in_order(np.array([5, 7]), lone_layer("fc1", "linear", (4,), 9).neurons).tolist() == [5, 7]


def test_membranes_are_of_busy_and_quiet_neurons():
    counts = np.array([0, 9, 1, 5, 3, 0])
    assert film.spread(np.array([1, 2, 3, 4]), counts).tolist() == [1, 3, 2]
    assert film.spread(np.array([4]), counts).tolist() == [4]
    assert film.spread(np.array([], int), counts).tolist() == []
