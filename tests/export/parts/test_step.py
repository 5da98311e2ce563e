"""A bundle's step graph is proven equal to torch, and differences are reported."""

from dataclasses import replace

import numpy as np
import pytest
from export_networks import OTHER, changed, firing

from csnn_jax.config import Config
from csnn_jax.data import Split
from export.graphs import onnx_file
from export.network import Bundle, Network
from export.parts import step
from export.proof.equality import CheckImages

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
