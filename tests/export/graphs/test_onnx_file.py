"""Every ONNX file is valid, and says what it means."""

import onnx
import pytest
from export_networks import case

from csnn_jax.errors import UserError
from export.graphs import onnx_file
from export.graphs.onnx_file import metadata_of


@pytest.mark.parametrize("name", ["other", "flat"])
@pytest.mark.parametrize("file", ["step.onnx", "step_b1.onnx", "sequence.onnx", "step_int8.onnx"])
def test_every_file_passes_the_full_check_and_says_what_it_means(name, file, tmp_path):
    made = case(name)
    onnx_file.save(made.models[file], tmp_path / file)
    model = onnx_file.load(tmp_path / file)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    said = metadata_of(model)
    assert said["reset"] == made.config.reset and said["time_steps"] == "12"
    assert said["encoding"].startswith(made.config.encoding)
    assert said["threshold"] == str([neurons.threshold.item() for neurons in made.step.neurons])
    assert said["beta"] == str([neurons.beta.item() for neurons in made.step.neurons])


def test_what_is_no_onnx_file_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no ONNX")
    for name in ("text", "missing"):
        with pytest.raises(UserError, match=f"{name}.onnx: expected an ONNX file: "):
            onnx_file.load(tmp_path / f"{name}.onnx")
