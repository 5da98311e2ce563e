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
from export import reference
from export.graphs import step_graph
from export.parts import golden, sequence
from export.report.tools import NOT_TRIED, Tool, tools

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "benchmarks" / "targets"
NIR = ModelConfig(conv_channels=(4,), hidden=(16,), pool="avg", reset="zero", time_steps=5)
ASKED_FOR = (
    *("Akida", "Hailo", "ST Edge AI", "ONNX Runtime Mobile", "ONNX Runtime Web", "TVM", "onnx-mlir", "onnx2c"),
    *("hls4ml", "FINN", "Speck", "Xylo", "Loihi 2", "SpiNNaker2", "snn-mlir"),
)


def table(config: ModelConfig = NIR) -> list[Tool]:
    tensors = {name: np.zeros(shape, np.float32) for name, shape in layouts.expected_shapes(config).items()}
    return tools(config, tensors)


def trials(row: Tool) -> list[dict]:
    return json.loads((ROOT / row.tried).read_text())["trials"]


TRIED = [row for row in table() if row.tried != NOT_TRIED]


def test_every_tool_has_a_row_and_a_source() -> None:
    names = [row.name for row in table()]
    assert [name for name in ASKED_FOR if not any(name in found for found in names)] == []
    for row in table():
        assert row.source.startswith("https://") or (not row.source and row.tried != NOT_TRIED), row
        assert all(row[:4]), row


@pytest.mark.parametrize("row", TRIED, ids=lambda row: row.name)
def test_output_tells_how_it_came_about(row: Tool) -> None:
    found = json.loads((ROOT / row.tried).read_text())
    script = found["command"].split()[1]
    assert (ROOT / script).is_file()
    assert not found["commit"].endswith("dirty") and found["commit"]
    assert found["versions"] and found["processor"] and found["golden_images"] >= 10 and found["output_spikes"] > 100


@pytest.mark.parametrize("row", TRIED, ids=lambda row: row.name)
def test_fit_is_what_the_output_shows(row: Tool) -> None:
    same = {trial["file"] for trial in trials(row) if trial.get("different_spikes", "").startswith("0 of")}
    refused = [trial for trial in trials(row) if "refused" in trial]
    if row.fit == "not supported":
        assert refused
    elif row.name == "snn-mlir":  # converts, and runs nowhere
        assert any(trial.get("supported") for trial in trials(row))
    else:
        named = {name.strip("(,:;)") for name in row.files.split() if name.strip("(,:;)").endswith((".onnx", ".nir"))}
        assert same and named - same <= {"step_int8.onnx"}


def test_without_a_nir_file_its_readers_are_not_supported() -> None:
    with_nir = {row.name for row in table() if ".nir" in row.files}
    assert len(with_nir) >= 8
    for row in table(ModelConfig()):
        assert ".nir" not in row.files
        if row.name in with_nir:
            assert row.fit == "not supported" and "--pool avg --reset zero" in row.reason and row.tried == NOT_TRIED


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
