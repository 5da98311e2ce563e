"""A bundle's step graph is proven equal to torch, and differences are reported."""

from dataclasses import replace

import numpy as np
import pytest
from backends import written
from export_networks import GRAPH, OTHER, changed, firing
from refusals import refusing

from csnn_jax.config import Config
from csnn_jax.data import Split
from export.graphs import onnx_file
from export.network import Bundle, Network
from export.parts import sequence, step, weights
from export.proof.equality import CheckImages, problems, windows
from export.proof.runners import session

pytestmark = pytest.mark.numeric


def checked(folder, reset: str | None = None, **changes: str):
    """The results for a bundle with only step graphs; `changes` names a parameter to change in one of them."""
    made = firing(OTHER)
    for name, model in ((name, made.models[name]) for name in step.PART.what):
        wrong = changes.get(name.removesuffix(".onnx"))
        onnx_file.save(changed(model, wrong, lambda value: value + np.float32(0.5)) if wrong else model, folder / name)
    model = replace(made.config, reset=reset or made.config.reset)
    network, test = Network(Config(model), made.tensors), Split(made.images, np.array([0, 1, 2]))
    return step.check(Bundle(folder, folder, network, network.config, 20, test), CheckImages(network, test, 3))


def test_both_files_are_equal_and_onnx_itself_confirms_the_plain_one(tmp_path):
    plain, static = checked(tmp_path)
    assert plain.problems == static.problems == []
    assert [*plain.figures] == [*step.PART.run_by, "accuracy", "graph"]
    assert [*static.figures] == ["onnxruntime", "accuracy", "graph"]
    assert static.figures["accuracy"] == plain.figures["accuracy"]
    first = [one.figures["graph"]["inputs"][0]["shape"][0] for one in (plain, static)]
    assert first == ["N", 1]


@pytest.mark.parametrize("name", ["step", "step_b1"])
def test_a_changed_weight_is_found_by_its_effect(tmp_path, name):
    results = dict(zip(("step", "step_b1"), checked(tmp_path, **{name: "fc1.weight"}), strict=True))
    assert any(" membranes (" in problem for problem in results[name].problems)


def test_another_reset_is_found_by_its_effect(tmp_path):
    assert all(result.problems for result in checked(tmp_path, reset="none"))


def test_the_sequence_accepts_lengths_other_than_its_default():
    made = firing(OTHER)
    runtime = session(made.models["sequence.onnx"])
    counts, spikes = runtime.run(None, {"image": made.x.numpy(), "time_steps": np.array(7)})
    _, whole = sequence.runner(made.models["sequence.onnx"])(made.x)
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


def test_currents_that_depend_on_the_image_alone_are_computed_before_the_loop():
    graph = firing(GRAPH).models["sequence.onnx"].graph
    assert [node.name for node in graph.node if "." in node.name] == ["mem1.Conv", "pixels.Flatten", "images.Gemm"]


def test_a_sequence_that_counts_incorrectly_is_found():
    made = firing(OTHER)
    whole, expected = made.models["sequence.onnx"], [*windows(made.step, [made.x])]
    with refusing(ValueError, [12, 3, 6], [11, 3, 6]):
        sequence.equality(made.config, changed(whole, "time_steps", lambda value: value - 1), expected)
    other = changed(whole, "fc2.bias", lambda value: value + np.float32(0.1))
    comparison, sums = sequence.equality(made.config, other, expected)
    assert 0 < comparison.spikes["lif4"].different < comparison.spikes["lif4"].compared and sums["different_counts"] > 0


def test_wrong_sums_of_equal_outputs_are_found(tmp_path):
    made = firing(OTHER)
    network, test = Network(Config(made.config), made.tensors), Split(made.images, np.array([0, 1, 2]))
    wrong = changed(made.models["sequence.onnx"], "fc2.bias", lambda value: value)
    body = next(node for node in wrong.graph.node if node.name == "window").attribute[0].g
    next(node for node in body.node if node.output[0] == "counts_now").op_type = "Sub"
    onnx_file.save(wrong, tmp_path / sequence.NAME)
    bundle = Bundle(tmp_path, tmp_path, network, network.config, 20, test)
    (check_result,) = sequence.check(bundle, CheckImages(network, test, 3))
    (line,) = check_result.problems
    assert line.startswith("in onnxruntime, ") and " of 18 sums differ" in line


def test_csnn_jax_agrees_but_not_with_another_bias():
    made = firing(OTHER)
    for more, ok in ((0, True), (1, False)):
        tensors = made.tensors | {"fc1.bias": made.tensors["fc1.bias"] + np.float32(more)}
        comparison = weights.equality(made.config, tensors, windows(made.step, [made.x]))
        figures = comparison.figures()
        assert figures["images"] == 3 and figures["membranes"] >= figures["spikes"] > 0
        assert (problems("csnn_jax", comparison) == []) == ok
