"""The proof finds nothing in an equal network and everything in one that was altered."""

import numpy as np
import onnx
import pytest
import torch
from export_networks import OTHER, case, changed

from export import proof_graphs
from export.proof import equality as proof
from export.proof.equality import Stepwise, equality, network
from export.proof.runners import OnnxRunner, ReferenceRunner, TorchRunner, counts, window


class Altered:
    """Runs the reference network and alters what comes out of step `time`."""

    def __init__(self, step, alter, time=3):
        self.runner, self.alter, self.time, self.calls = TorchRunner(step), alter, time, 0

    def step(self, x, membranes):
        spikes, after = self.runner.step(x, membranes)
        spikes, after = spikes.copy(), [u.copy() for u in after]
        if self.calls % OTHER.time_steps == self.time:
            self.alter(spikes, after)
        self.calls += 1
        return spikes, after


@pytest.fixture
def made():
    return case("other")


def test_a_network_is_equal_to_itself(made):
    found = equality(made.step, TorchRunner(made.step), [made.x, made.x[:2]], size=2)
    stepwise, free = found["stepwise"], found["free_running"]
    neurons = sum(int(np.prod(layer.out_shape)) for layer in OTHER.layers)
    assert found["ok"] and found["time_steps"] == 12
    assert stepwise["membranes"] == neurons * 12 * 5 and stepwise["max_difference"] == 0
    assert free["images"] == 5 and free["counts"] == 5 * 6
    assert free["output_spikes"] == 5 * 6 * 12 and free["hidden_spikes"] == (neurons - 6) * 5 * 12


@pytest.mark.parametrize("name", ["conv1.weight", "conv2.bias", "fc2.weight", "lif3.beta"])
def test_an_altered_parameter_is_found(made, name):
    model = changed(made.models["step.onnx"], name, lambda value: value + np.float32(2e-3))
    found = equality(made.step, OnnxRunner(model), [made.x])
    assert not found["ok"] and not found["stepwise"]["ok"]
    assert found["stepwise"]["beyond_limit"] > 0 and found["stepwise"]["max_difference"] > proof.LIMIT


def test_an_altered_threshold_is_found(made):
    model = changed(made.models["step.onnx"], "lif3.threshold", lambda value: value + np.float32(0.5))
    found = equality(made.step, OnnxRunner(model), [made.x])
    assert found["stepwise"]["beyond_limit"] > 0  # in layer 4, which sees the spikes of layer 3
    assert not found["stepwise"]["ok"] and not found["free_running"]["ok"]


def test_a_flipped_output_spike_is_found_and_placed(made):
    def flip(spikes, membranes):
        spikes[1, 4] = 1 - spikes[1, 4]

    found = equality(made.step, Altered(made.step, flip), [made.x])
    (flipped,) = found["stepwise"]["flips"]
    assert {key: flipped[key] for key in ("layer", "step", "image", "neuron", "explained")} == {
        "layer": 4,
        "step": 3,
        "image": 1,
        "neuron": 4,
        "explained": False,
    }
    assert found["stepwise"]["unexplained_flips"] == 1 and not found["stepwise"]["ok"]
    assert found["free_running"]["different_output_spikes"] == 1 and found["free_running"]["different_counts"] == 1
    assert found["free_running"]["first_flips"] == [flipped] and not found["free_running"]["ok"]


def test_a_flip_at_the_threshold_is_explained_and_its_consequences_are_skipped(made):
    first = network.trace(made.step, made.x, 1).membranes[0][0, 2].ravel()  # needs no threshold
    neuron = int((first > 0.5).nonzero()[0])
    step = network.Step(made.config, made.tensors | {"lif1.threshold": first[neuron].numpy()})

    def above(spikes, membranes):
        view = membranes[0][2].reshape(-1)
        view[neuron] = np.nextafter(view[neuron], np.float32(9))
        membranes[1][2] += 1

    found = equality(step, Altered(step, above, time=0), [made.x])
    (flip,) = found["stepwise"]["flips"]
    assert flip["explained"] and flip["distance"] == 0 and (flip["layer"], flip["image"], flip["step"]) == (1, 2, 0)
    assert flip["neuron"] == neuron
    assert found["stepwise"]["ok"] and found["stepwise"]["layers_skipped_after_a_flip"] == 3
    assert found["free_running"]["first_flips"][0] == flip and found["free_running"]["unexplained_first_flips"] == 0
    assert found["free_running"]["different_hidden_spikes"] >= 1 and found["free_running"]["ok"]


def test_membranes_that_are_not_numbers_are_found(made):
    def spoil(spikes, membranes):
        membranes[2][0, 0] = np.nan

    found = equality(made.step, Altered(made.step, spoil), [made.x])
    assert not found["ok"] and found["stepwise"]["beyond_limit"] == 1


def test_the_limit_is_relative_to_the_membrane():
    mine = window_of(np.array([[3.0, 100.0, 0.0]]))
    figures = []
    for difference in (0.9e-5, 1.1e-5):
        stepwise = Stepwise([1e9, 1e9])
        theirs = mine.membranes[0][0] + difference * (1 + mine.membranes[0][0])
        stepwise.add(0, 0, mine, np.zeros((1, 3)), [theirs, mine.membranes[1][0]])
        figures.append(stepwise.figures())
    assert [found["beyond_limit"] for found in figures] == [0, 3]
    assert [found["ok"] for found in figures] == [True, False]


def window_of(membrane):
    return proof.Window(np.zeros((1, *membrane.shape)), [membrane[None], membrane[None]])


def test_listed_flips_are_few_and_counted_flips_are_all(made):
    def flip(spikes, membranes):
        spikes[:] = 1 - spikes

    many = made.x.repeat(20, 1, 1, 1)
    found = equality(made.step, Altered(made.step, flip), [many], size=60)["stepwise"]
    assert found["flipped_spikes"] == found["unexplained_flips"] == 60 * 6
    assert len(found["flips"]) == proof.LISTED


def test_onnx_itself_agrees(made):
    found = equality(made.step, ReferenceRunner(made.models["step.onnx"]), [made.x[:2]], time_steps=4)
    assert found["ok"] and found["time_steps"] == 4 and found["stepwise"]["membranes"] > 0


@pytest.mark.parametrize("name", ["default", "other", "flat"])
def test_inlining_the_function_changes_no_number(name):
    made = case(name)
    found = proof_graphs.lif_inlining(made.models["step_lif.onnx"], made.models["step.onnx"], made.config, made.x)
    assert found["ok"]
    assert found["lif_nodes"] == {"file": len(made.config.layers), "inlined_by_onnxruntime": 0}


def test_an_altered_neuron_is_found_in_every_form(made):
    model = onnx.ModelProto()
    model.CopyFrom(made.models["step_lif.onnx"])
    (node,) = [node for node in model.graph.node if node.name == "lif1"]
    next(attribute for attribute in node.attribute if attribute.name == "beta").f += 1e-3
    found = proof_graphs.lif_inlining(model, made.models["step.onnx"], made.config, made.x)
    assert all(found["different_numbers"].values()) and len(found["different_numbers"]) == 4 and not found["ok"]


def test_a_sequence_that_counts_wrongly_is_found():
    made = case("default")
    step, sequence = made.models["step.onnx"], made.models["sequence.onnx"]
    shorter = changed(sequence, "time_steps", lambda value: value - 1)
    found = proof_graphs.sequence_equals_loop(shorter, step, made.config, [made.x])
    assert found["different_spikes"] == found["spikes"] and found["different_counts"] > 0 and not found["ok"]
    other = changed(sequence, "fc2.bias", lambda value: value + np.float32(0.1))
    found = proof_graphs.sequence_equals_loop(other, step, made.config, [made.x])
    assert 0 < found["different_spikes"] < found["spikes"] and not found["ok"]


@pytest.mark.parametrize("name", ["default", "other"])
def test_csnn_jax_agrees(name):
    made = case(name)
    found = proof_graphs.jax_equality(made.step, made.tensors, made.models["step.onnx"], [made.x])
    assert found["ok"] and found["images"] == 3
    assert found["images_that_differ"] == 0


def test_other_weights_in_csnn_jax_are_found(made):
    tensors = made.tensors | {"fc1.bias": made.tensors["fc1.bias"] + np.float32(1)}
    found = proof_graphs.jax_equality(made.step, tensors, made.models["step.onnx"], [made.x])
    assert not found["ok"] and found["first_flips"][0]["layer"] == 3


def test_accuracy_takes_the_lowest_class_on_ties():
    spikes = np.array([[0, 2, 2], [1, 0, 0], [0, 0, 0]], np.float32)
    batches = [(torch.zeros(3, 1), np.array([1, 0, 2])), (torch.zeros(3, 1), np.array([2, 0, 0]))]
    assert proof_graphs.accuracy(lambda x: spikes, batches) == pytest.approx(4 / 6)


def test_every_graph_counts_the_same_spikes(made):
    expected = window(TorchRunner(made.step), made.config, made.x).spikes.sum(0)
    assert expected.any()
    np.testing.assert_array_equal(counts(TorchRunner(made.step), made.config, made.x), expected)
    for file in ("step.onnx", "step_b1.onnx", "step_lif.onnx"):
        found = proof_graphs.step_counts(made.models[file], made.config)(made.x)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(proof_graphs.sequence_counts(made.models["sequence.onnx"])(made.x), expected)
