"""Every ONNX file is valid and documents itself; differences between two files are located."""

import numpy as np
import onnx
import pytest
from export_networks import FLAT, OTHER, changed, firing
from refusals import refusing

from csnn_jax.errors import UserError
from export import semantics
from export.graphs import onnx_file


@pytest.mark.parametrize("config", [OTHER, FLAT], ids=["other", "flat"])
@pytest.mark.parametrize("file", ["step.onnx", "step_b1.onnx", "sequence.onnx"])
def test_every_file_passes_the_full_check_and_documents_itself(config, file, tmp_path):
    made = firing(config)
    onnx_file.save(made.models[file], tmp_path / file)
    model = onnx_file.load(tmp_path / file)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    facts = semantics.metadata(semantics.of_bundle(made.step, config is FLAT, ()))
    assert onnx_file.metadata_of(model) == facts and facts["time_steps"] == "12"


def test_files_that_are_no_onnx_file_or_tensor_are_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no ONNX")
    for name, facts in (("text.onnx", ("ONNX",)), ("missing.onnx", ("no such file", "ONNX"))):
        with refusing(UserError, tmp_path / name, *facts):
            onnx_file.load(tmp_path / name)
    (tmp_path / "input_0.pb").write_bytes(b"no tensor")
    with refusing(UserError, tmp_path / "input_0.pb", "ONNX tensor"):
        onnx_file.load_tensors(tmp_path, "input")


def test_an_invalid_graph_is_not_finished():
    model = changed(firing(OTHER).models["step.onnx"], "conv2.bias", lambda value: value)
    model.graph.node.add().CopyFrom(model.graph.node[0])
    with pytest.raises(onnx.checker.ValidationError):
        onnx_file.finish(model, {})


def test_one_changed_weight_is_named():
    model, name = firing(OTHER).models["step.onnx"], "conv2.bias"
    (line,) = onnx_file.differences(model, changed(model, name, lambda value: value + np.float32(1e-6)))
    assert line.startswith(f"graph.initializer[{name}].raw_data ")
    assert [*onnx_file.differences(model, changed(model, name, lambda value: value))] == []


def test_a_difference_is_located():
    model = firing(OTHER).models["sequence.onnx"]
    other = onnx.ModelProto()
    other.CopyFrom(model)
    other.graph.node[0].doc_string = "certified"
    other.graph.node[0].attribute[1].ints[0] = 7
    loop = next(node for node in other.graph.node if node.op_type == "Loop").attribute[0].g
    loop.node.add(op_type="Identity", name="more")
    other.MergeFromString(b"\xa2\x1f\x04evil")
    count, name = len(loop.node) - 1, model.graph.node[0].attribute[1].name
    assert [*onnx_file.differences(model, other)] == [
        "the file has a field that isn't part of ONNX",
        f"graph.node[conv1].attribute[{name}].ints[0] is 7, expected 1",
        "graph.node[conv1].doc_string is unexpected",
        f"graph.node[window].attribute[body].g.node has {count + 1} entries, expected {count}: more",
    ]
