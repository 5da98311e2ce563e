"""A hostile bundle is refused within 20 s and 2 GB, without waiting for a pipe or following a link."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hostile
import pytest
from commands import call
from limits import limited
from refusals import refused

CASES = [
    *(("SHA256SUMS", make) for make in hostile.FOR_ANY),
    *(("manifest.json", make) for make in hostile.FOR_ANY),
    *((name, make) for name in ("config.json", "weights.safetensors") for make in hostile.FOR_ANY[:2]),
    *((name, hostile.terabyte) for name in ("config.json", "weights.safetensors")),
    *(("step.onnx", make) for make in (hostile.pipe, hostile.terabyte)),
    *(("report.html", hostile.zeros), ("golden/images.safetensors", hostile.pipe), ("network.nir", hostile.zeros)),
]


@pytest.fixture(scope="module")
def shared(small_bundle, tmp_path_factory) -> Path:
    """A copy of the small bundle for tests that restore what they change."""
    return shutil.copytree(small_bundle, tmp_path_factory.mktemp("hostile") / "bundle")


@pytest.mark.parametrize("flag", ["--quick", "--hashes"])
@pytest.mark.parametrize(("name", "make"), CASES)
def test_verify_reads_only_regular_files(shared, small_bundle, name, make, flag):
    path = shared / name
    path.unlink()
    make(path)
    with limited():
        done = call("export.verify", shared, flag)
    path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)
    shutil.copy2(small_bundle / name, path)
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    assert done.returncode in (1, 2) and all(line.isprintable() for line in lines), done
    assert any(name in line or "its files have" in line or "isn't a bundle" in line for line in lines), done
    assert not done.stdout.startswith("manifest.json") or name == "manifest.json", done
    assert len(lines) < 10 and "Traceback" not in done.stderr


@pytest.mark.parametrize(("name", "make"), [("step.onnx", hostile.pipe), ("manifest.json", hostile.zeros)])
def test_a_demonstration_is_made_of_regular_files_only(copy, tmp_path, name, make):
    (copy / name).unlink()
    make(copy / name)
    with limited():
        refused("export.demo", copy, "--out", tmp_path / "demo", names=(copy, name))


def test_the_bundle_s_own_check_does_not_wait_either(copy):
    for name in ("SHA256SUMS", "step.onnx", "golden/step/test_data_set_0/input_0.pb"):
        (copy / name).unlink()
        os.mkfifo(copy / name)
    (copy / "sequence.onnx").unlink()
    hostile.terabyte(copy / "sequence.onnx")
    done = subprocess.run([sys.executable, "-I", copy / "check_onnx.py"], capture_output=True, text=True, timeout=60)
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert done.returncode == 1 and done.stderr == "" and len(lines) == 5
    assert all("isn't a plain file" in lines[name] for name in ("SHA256SUMS", "step.onnx", "step_b1.onnx")), lines
