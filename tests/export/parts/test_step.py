"""A step graph of a bundle is proven equal to torch, and what is not equal is told."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from export_networks import case, changed

from csnn_jax.config import Config
from csnn_jax.data import Split
from export.graphs import onnx_file
from export.parts import step
from export.subject import Subject

pytestmark = pytest.mark.numeric


@pytest.fixture
def subject(tmp_path) -> Subject:
    """A bundle of nothing but the step graphs."""
    made = case("other")
    for name in step.PART.what:
        onnx_file.save(made.models[name], tmp_path / name)
    split = Split(made.images, np.array([0, 1, 2]))
    return Subject(tmp_path, Config(made.config), made.tensors, split, 3, made.images)


def test_both_files_are_equal_and_the_plain_one_by_onnx_itself_too(subject):
    plain, static = (step.check(subject, name) for name in step.PART.what)
    assert plain.problems == static.problems == []
    assert [*plain.proof] == ["onnxruntime", "reference_evaluator", "accuracy"]
    assert [*static.proof] == ["onnxruntime", "accuracy"] and static.proof["accuracy"] == plain.proof["accuracy"]
    assert plain.graph["inputs"][0]["shape"][0] == "N" and static.graph["inputs"][0]["shape"][0] == 1
    assert [one.run_by for one in step.comparisons(plain.proof)] == ["ONNX Runtime", "onnx's reference evaluator"]


def test_a_batch_of_one_is_run_for_its_accuracy_where_it_is_another_graph_or_each_file_is(subject, monkeypatch):
    """Otherwise the accuracy is that of step.onnx, which runs once."""
    runs: list[int] = []
    counts = step.step_counts

    def counted(model, config):
        runs.append(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value)
        return counts(model, config)

    monkeypatch.setattr(step, "step_counts", counted)
    for name in step.PART.what:
        step.check(subject, name)
    assert runs == [0]
    for name in step.PART.what:
        step.check(replace(subject, extent=subject.extent._replace(each=True)), name)
    assert runs[1:] == [0, 1]
    model = changed(onnx.load(subject.folder / step.STATIC), "fc1.weight", lambda value: -value)
    onnx_file.save(model, subject.folder / step.STATIC)
    step.check(subject, step.STATIC)
    assert runs[3:] == [1]


@pytest.mark.parametrize("name", [step.PLAIN, step.STATIC])
def test_a_changed_weight_is_found_by_what_it_does(subject, name):
    model = changed(onnx.load(subject.folder / name), "fc1.weight", lambda value: value + np.float32(0.5))
    onnx_file.save(model, subject.folder / name)
    problems = step.check(subject, name).problems
    assert any("membranes differ from torch's by more than 1e-05" in problem for problem in problems)


def test_another_reset_is_found_by_what_it_does(subject):
    other = replace(subject, config=Config(replace(subject.config.model, reset="none")))
    assert step.check(other, step.STATIC).problems
