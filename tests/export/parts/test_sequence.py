"""The whole window in one graph, a loop over the step; tests/test_matrix.py compares what it computes."""

import numpy as np
import pytest
from backends import written
from export_networks import OTHER, changed, firing
from refusals import refusing

from export.graphs import onnx_file
from export.parts import sequence, step
from export.proof.equality import windows

pytestmark = pytest.mark.numeric


def test_the_sequence_accepts_lengths_other_than_its_default():
    made = firing(OTHER)
    runner = sequence.SequenceRunner(made.models["sequence.onnx"])
    counts, spikes = runner.run(made.x, 7)
    _, whole = runner.run(made.x)
    assert spikes.shape == (7, 3, 6) and whole.shape == (12, 3, 6)
    np.testing.assert_array_equal(spikes, whole[:7])
    np.testing.assert_array_equal(counts, spikes.sum(0))


@pytest.mark.parametrize(
    ("name", "once", "outputs"),
    [
        ("dark half", ["conv1", "pool1"], ["counts", "spikes"]),
        ("sums, values per channel", ["conv1", "pool1.AveragePool", "pool1.Mul"], ["counts", "spikes"]),
        ("synaptic, sums after", ["conv1"], ["counts", "spikes"]),
        ("no pool, no bias, membranes", ["conv1"], ["scores", "membranes"]),
    ],
)
def test_the_input_of_the_first_neurons_is_computed_before_the_loop(name, once, outputs):
    written(step, name)
    graph = onnx_file.load(written(sequence, name) / sequence.NAME).graph
    assert [node.name for node in graph.node if node.name.startswith(("conv", "pool", "fc"))] == once
    assert [value.name for value in graph.output] == outputs


def test_a_sequence_that_counts_incorrectly_is_found():
    made = firing(OTHER)
    whole, expected = made.models["sequence.onnx"], [*windows(made.step, [made.x])]
    with refusing(ValueError, [12, 3, 6], [11, 3, 6]):
        sequence.equality(made.config, changed(whole, "time_steps", lambda value: value - 1), expected)
    other = changed(whole, "fc2.bias", lambda value: value + np.float32(0.1))
    found, sums = sequence.equality(made.config, other, expected)
    assert 0 < found.spikes["lif4"].different < found.spikes["lif4"].compared and sums["different_counts"] > 0
