"""The table of tools: what it says is what the committed outputs of benchmarks/targets show."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig
from csnn_jax.runs import layouts, weights
from csnn_jax.runs.config_json import job_to_json
from export import parts, reference
from export.graphs import step_graph
from export.parts import golden, sequence
from export.report.tools import Tool, running

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "benchmarks" / "targets"
NIR = ModelConfig(conv_channels=(4,), hidden=(16,), pool="avg", reset="zero", time_steps=5)
FILES = {name for part in parts.every() for name in part.what}


@pytest.mark.parametrize("row", running(FILES), ids=lambda row: row.name)
def test_fit_is_what_the_recorded_output_shows(row: Tool) -> None:
    found = json.loads((ROOT / row.tried).read_text())
    assert (ROOT / found["command"].split()[1]).is_file()
    same = {trial["file"] for trial in found["trials"] if trial.get("different_spikes", "").startswith("0 of")}
    assert {*row.files.split(", ")} <= same and found["output_spikes"] > 100


def test_tools_of_files_that_a_bundle_lacks_are_left_out() -> None:
    names = {row.name for row in running(FILES - {"network.nir", "network_nir104.nir"})}
    assert names == {row.name for row in running(FILES) if ".nir" not in row.files} and names


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As much of a bundle as a script needs for step.onnx."""
    folder = tmp_path_factory.mktemp("bundle")
    rng = np.random.default_rng(0)
    shapes = layouts.expected_shapes(NIR).items()
    tensors = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes}
    weights.save(folder / "weights.safetensors", tensors, NIR)
    (folder / "config.json").write_text(job_to_json(Config(NIR)))
    plain = step_graph.step(NIR, tensors, 20)
    onnx.save(plain, folder / "step.onnx")
    onnx.save(sequence.graph(plain, NIR, False), folder / "sequence.onnx")
    golden.write_sets(folder, reference.Step(NIR, tensors), data.load("mnist", (28, 28, 1)).test, NIR.time_steps)
    return folder


@pytest.mark.slow
def test_script_compares_with_the_golden_spikes(bundle: Path) -> None:
    script = [sys.executable, SCRIPTS / "run_ort_mobile.py", bundle]
    spikes = bundle / "golden/sequence/test_data_set_3/output_1.pb"
    kept = spikes.read_bytes()
    flipped = numpy_helper.to_array(onnx.TensorProto.FromString(kept)).copy()
    flipped[2, 0, 7] = 1 - flipped[2, 0, 7]
    for content, expected in ((kept, 0), (numpy_helper.from_array(flipped).SerializeToString(), 1)):
        spikes.write_bytes(content)
        done = subprocess.run(script, capture_output=True, text=True, timeout=200)
        found = json.loads(done.stdout)
        by_file = {trial["file"]: trial for trial in found["trials"]}
        assert by_file["step.onnx"]["different_spikes"] == f"{expected} of 500"
        assert by_file["sequence.onnx"]["different_spikes"] == f"{expected} of 500"
        assert "step_b1.onnx" in by_file["step_b1.onnx"]["refused"]  # no such file
        assert found["output_spikes"] > 20
