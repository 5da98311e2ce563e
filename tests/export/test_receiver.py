"""`check_onnx.py` of a bundle: whoever has ONNX Runtime alone finds a changed file, and no sound one."""

import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

ALONE = """
import sys
for name in ("onnx", "torch", "jax", "snntorch", "csnn_jax", "export", "safetensors"):
    sys.modules[name] = None
import runpy
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def check(bundle) -> tuple[int, dict[str, str]]:
    """Runs it where only NumPy and ONNX Runtime can be imported; what it says of each file."""
    done = subprocess.run([sys.executable, "-c", ALONE, bundle / "check_onnx.py"], capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, dict(line.split(maxsplit=1) for line in done.stdout.splitlines())


def change(path, name: str, factor: float) -> None:
    """Multiplies a constant of an ONNX file, in whatever graph it is."""
    model = onnx.load(path)
    inner = [attribute.g for node in model.graph.node for attribute in node.attribute if attribute.HasField("g")]
    (tensor,) = [tensor for graph in (model.graph, *inner) for tensor in graph.initializer if tensor.name == name]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), name))
    onnx.save(model, path)


def test_a_sound_bundle_is_ok(any_bundle):
    code, said = check(any_bundle)
    assert code == 0 and said.pop("all") == "ok" and "not compared" in said.pop("step_int8.onnx")
    assert said.pop("SHA256SUMS") == "ok: no file was changed"
    assert set(said) == {"step.onnx", "step_b1.onnx", "step_lif.onnx", "sequence.onnx"}
    assert all(line.startswith("ok: 1") for line in said.values()), said


@pytest.mark.parametrize("name", ["step.onnx", "step_b1.onnx", "step_lif.onnx", "sequence.onnx"])
def test_a_changed_file_is_named(small_bundle, name, tmp_path):
    bundle = shutil.copytree(small_bundle, tmp_path / "bundle")
    change(bundle / name, "fc1.weight", 1.01 if name != "sequence.onnx" else 2)
    code, said = check(bundle)
    assert code == 1 and said.pop("NOT") == "OK"
    assert said.pop("SHA256SUMS") == f"NOT OK: missing or changed: {name}"
    assert [name for name, line in said.items() if line.startswith("NOT OK")] == [name]


def test_a_missing_file_is_one_line(small_bundle, tmp_path):
    bundle = shutil.copytree(small_bundle, tmp_path / "bundle")
    (bundle / "step.onnx").unlink()
    code, said = check(bundle)
    assert code == 1 and said["SHA256SUMS"] == "NOT OK: missing or changed: step.onnx"
    assert said["step.onnx"].startswith("NOT OK: ") and said["sequence.onnx"].startswith("ok")
