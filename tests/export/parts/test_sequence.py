"""The whole window in one graph, a loop over the step, is bit-exact."""

import numpy as np
import pytest
from export_networks import STACKS, case, changed

from export import reference
from export.parts import sequence
from export.proof.equality import windows

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("name", STACKS)
def test_the_sequence_equals_the_looped_step(name):
    made = case(name)
    found = sequence.equality(made.models["sequence.onnx"], windows(made.step, [made.x]))
    read = "membranes" if made.config.readout == "membrane" else "spikes"
    assert found[f"different_{read}"] == found["different_counts"] == found["different_predictions"] == 0
    assert found[read] == 12 * found["counts"] == 12 * len(made.images) * made.config.num_classes
    outputs = [value.name for value in made.models["sequence.onnx"].graph.output]
    assert outputs == (["scores", "membranes"] if read == "membranes" else ["counts", "spikes"])


def test_the_sequence_accepts_lengths_other_than_its_default():
    made = case("default")
    runner = sequence.SequenceRunner(made.models["sequence.onnx"])
    counts, spikes = runner.run(made.x, 7)
    _, whole = runner.run(made.x)
    assert spikes.shape == (7, 3, 10) and whole.shape == (12, 3, 10)
    np.testing.assert_array_equal(spikes, whole[:7])
    np.testing.assert_array_equal(counts, spikes.sum(0))


@pytest.mark.parametrize(
    ("name", "once"),
    [
        ("default", ["conv1", "pool1"]),
        ("sum", ["conv1", "pool1.AveragePool", "pool1.Mul"]),
        ("sum after the neurons", ["conv1"]),
        ("maximum after the neurons", ["conv1"]),
    ],
)
def test_the_input_of_the_first_neurons_is_computed_before_the_loop(name, once):
    graph = case(name).models["sequence.onnx"].graph
    assert [node.name for node in graph.node if node.name.startswith(("conv", "pool", "fc"))] == once


def test_the_sequence_takes_data_with_a_time_axis():
    made = case("other")
    frames = np.random.default_rng(0).integers(0, 256, (3, 9, *made.config.input_shape), np.uint8)
    x = reference.inputs(made.config, frames)
    assert x.shape == (9, 3, 2, 12, 10)
    model = sequence.graph(made.models["step.onnx"], made.config, frames=True)
    counts, spikes = sequence.SequenceRunner(model).run(x)
    expected = reference.trace(made.step, x, 12).spikes[-1].numpy()
    assert expected.any()
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_array_equal(counts, expected.sum(0))


def test_a_sequence_that_counts_incorrectly_is_found():
    made = case("default")
    whole, expected = made.models["sequence.onnx"], [*windows(made.step, [made.x])]
    with pytest.raises(ValueError, match=r"\[12, 3, 10\] and \[11, 3, 10\], expected equal shapes"):
        sequence.equality(changed(whole, "time_steps", lambda value: value - 1), expected)
    found = sequence.equality(changed(whole, "fc2.bias", lambda value: value + np.float32(0.1)), expected)
    assert 0 < found["different_spikes"] < found["spikes"] and found["different_counts"] > 0
