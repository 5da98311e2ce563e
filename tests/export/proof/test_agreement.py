"""Recorded figures agree with those of another machine, and not with those that somebody made up."""

import copy

import pytest
from export_networks import case

from export import manifest
from export.proof.agreement import ANSWERS, FLIPS, disagreement
from export.proof.equality import LIMIT, equality, windows
from export.proof.runners import OnnxRunner

IMAGES = 3
FLIP = {"layer": 2, "step": 1, "image": 0, "neuron": 5, "distance": 3e-7, "explained": True}


@pytest.fixture
def found():
    """The figures of a real comparison, by file and program as in a manifest."""
    made = case("other")
    figures = equality(made.step, OnnxRunner(made.models["step.onnx"]), windows(made.step, [made.x]))
    return {"step.onnx": {"onnxruntime": figures}}


def told(recorded, found, images=IMAGES):
    return [*manifest.differences(recorded, found, rule=lambda *figures: disagreement(*figures, images))]


def changed(found, half, **figures):
    """The figures with others in `half`, stepwise or free_running."""
    recorded = copy.deepcopy(found)
    recorded["step.onnx"]["onnxruntime"][half] |= figures
    return recorded


def flipped(found, images):
    """The figures of a machine on which a spike flipped in so many images, and two more followed."""
    free = found["step.onnx"]["onnxruntime"]["free_running"]
    hidden = [images, 2 * images, *[0] * (len(free["different_spikes_by_layer"]) - 2)]
    figures = {"images_that_differ": images, "first_flips": [FLIP] * images, "different_hidden_spikes": 3 * images}
    return changed(found, "free_running", **figures, different_spikes_by_layer=hidden)


def test_other_last_bits_agree(found):
    layers = found["step.onnx"]["onnxruntime"]["stepwise"]["max_difference_by_layer"]
    other = [LIMIT * 0.9, *(value / 3 for value in layers[1:])]
    recorded = changed(found, "stepwise", max_difference_by_layer=other, max_difference=max(other))
    assert told(recorded, found) == told(found, recorded) == []


def test_explained_flips_of_another_machine_agree_as_long_as_they_are_few(found):
    assert told(flipped(found, FLIPS), found) == told(found, flipped(found, FLIPS)) == []
    (line,) = told(flipped(found, FLIPS + 1), found)
    assert "images_that_differ is 0, recorded as 4, expected within 3" in line
    many = changed(found, "free_running", images=1000)
    assert told(flipped(many, 40), many) == []


def test_a_flip_within_a_step_agrees_where_what_it_hides_is_counted(found):
    whole = found["step.onnx"]["onnxruntime"]["stepwise"]["membranes"]
    flip = {"flipped_spikes": 1, "flips": [FLIP]}
    skipped = changed(found, "stepwise", **flip, membranes=whole - 30, membranes_skipped_after_a_flip=30)
    assert told(skipped, found) == []
    (line,) = told(changed(found, "stepwise", **flip, membranes=whole - 30), found)
    assert f"membranes, compared and skipped, are {whole:,}, recorded as {whole - 30:,}" in line


@pytest.mark.parametrize(
    ("half", "figures", "said"),
    [
        ("stepwise", {"max_difference": 2e-6}, "max_difference is recorded as 2e-06"),
        ("stepwise", {"beyond_limit": 1}, "beyond_limit is 0, recorded as 1"),
        ("stepwise", {"limit": 1e-3}, "limit is 1e-05, recorded as 0.001"),
        ("stepwise", {"flipped_spikes": 2}, "flipped_spikes is recorded as 2, but 0 are listed"),
        ("stepwise", {"unexplained_flips": 1}, "unexplained_flips is 0, recorded as 1"),
        ("free_running", {"images": 1000}, "images is 3, recorded as 1000"),
        ("free_running", {"output_spikes": 10**9}, "output_spikes is 216, recorded as 1000000000"),
        ("free_running", {"counts": 2}, "counts is 18, recorded as 2"),
        ("free_running", {"images_that_differ": 1}, "images_that_differ is recorded as 1, but 0 are listed"),
        ("free_running", {"different_output_spikes": 5}, "different_spikes_by_layer is recorded as [0, 0, 0, 0]"),
        ("free_running", {"different_counts": 1}, "different_counts is recorded as 1, but 0 images differ"),
        ("free_running", {"ok": 1}, "ok is True, recorded as 1"),
    ],
)
def test_what_no_machine_gives_is_told(found, half, figures, said):
    lines = told(changed(found, half, **figures), found)
    assert any(line == f"step.onnx.onnxruntime.{half}: {said}" or said in line for line in lines), lines


def test_differences_beyond_the_limit_and_flips_without_a_reason_are_told(found):
    layers = [2 * LIMIT, *found["step.onnx"]["onnxruntime"]["stepwise"]["max_difference_by_layer"][1:]]
    (line,) = told(changed(found, "stepwise", max_difference_by_layer=layers, max_difference=2 * LIMIT), found)
    assert "expected the largest by layer, and at most 1e-05" in line
    recorded = flipped(found, 1)
    recorded["step.onnx"]["onnxruntime"]["free_running"]["first_flips"] = [FLIP | {"explained": False}]
    (line,) = told(recorded, found)
    assert "first_flips holds one that is not explained" in line


def test_accuracy_may_differ_by_few_images():
    assert told({"accuracy": 0.5 + ANSWERS / 20}, {"accuracy": 0.5}, images=20) == []
    assert told({"accuracy": 0.5 + (ANSWERS + 1) / 20}, {"accuracy": 0.5}, images=20) != []
    assert told({"accuracy": 0.975}, {"accuracy": 0.9795}, images=10_000) == []
    assert told({"accuracy": 0.973}, {"accuracy": 0.9795}, images=10_000) != []
    assert told({"accuracy": None}, {"accuracy": 0.5}, images=20) != []


def test_averages_may_differ_by_a_fiftieth_and_what_is_counted_by_nothing():
    found = {"layers": [{"spikes": 12.5, "neurons": 64}], "densities": {"lif1": 0.02, "lif2": 0.0}, "pj_per_add": 0.9}
    near = {"layers": [{"spikes": 12.6, "neurons": 64}], "densities": {"lif1": 0.0203, "lif2": 5e-5}, "pj_per_add": 0.9}
    assert told(near, found) == []
    for recorded in (
        {"layers": [{"spikes": 13.5, "neurons": 64}]},
        {"layers": [{"spikes": 12.5, "neurons": 65}]},
        {"densities": {"lif1": 0.03, "lif2": 0.0}},
        {"densities": {"lif1": 0.02}},
        {"pj_per_add": 0.91},
    ):
        assert len(told(found | recorded, found)) == 1, recorded
