"""The whole window in one graph: a loop over the step, bit for bit."""

import numpy as np
import pytest
from export_networks import STACKS, case, changed

from export import reference
from export.parts import sequence

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("name", STACKS)
def test_the_sequence_is_the_looped_step(name):
    made = case(name)
    found = sequence.equals_loop(made.models["sequence.onnx"], made.models["step.onnx"], made.config, [made.x])
    assert found["ok"] and found["spikes"] == 12 * len(made.images) * made.config.num_classes


def test_the_sequence_takes_another_length_than_its_default():
    made = case("default")
    runner = sequence.SequenceRunner(made.models["sequence.onnx"])
    counts, spikes = runner.run(made.x, 7)
    _, whole = runner.run(made.x)
    assert spikes.shape == (7, 3, 10) and whole.shape == (12, 3, 10)
    np.testing.assert_array_equal(spikes, whole[:7])
    np.testing.assert_array_equal(counts, spikes.sum(0))
    graph = case("default").models["sequence.onnx"].graph
    once = [node.name for node in graph.node if node.op_type in ("Conv", "MaxPool")]
    assert once == ["conv1", "pool1"], "before the loop"


def test_data_with_a_time_axis_of_their_own_go_through_the_sequence():
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


def test_a_sequence_that_counts_wrongly_is_found():
    made = case("default")
    plain, whole = made.models["step.onnx"], made.models["sequence.onnx"]
    shorter = changed(whole, "time_steps", lambda value: value - 1)
    found = sequence.equals_loop(shorter, plain, made.config, [made.x])
    assert found["different_spikes"] == found["spikes"] and found["different_counts"] > 0 and not found["ok"]
    other = changed(whole, "fc2.bias", lambda value: value + np.float32(0.1))
    found = sequence.equals_loop(other, plain, made.config, [made.x])
    assert 0 < found["different_spikes"] < found["spikes"] and not found["ok"]
