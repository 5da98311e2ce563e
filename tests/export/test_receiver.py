"""`check_onnx.py` of a bundle: ONNX Runtime alone is enough to find changed files, and sound ones pass."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hostile
import numpy as np
import onnx
import pytest
from commands import call
from export_networks import changed
from limits import limited
from refusals import refused

from export import receiver

ALONE = """
import runpy, sys
sys.modules |= dict.fromkeys(("onnx", "torch", "jax", "snntorch", "csnn_jax", "export", "safetensors"))
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def check(bundle) -> tuple[int, dict[str, str]]:
    """Runs it with only NumPy and ONNX Runtime importable: (exit code, message for each file)."""
    done = subprocess.run([sys.executable, "-c", ALONE, bundle / "check_onnx.py"], capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, dict(line.split(maxsplit=1) for line in done.stdout.splitlines())


def test_a_sound_bundle_is_ok(any_bundle):
    code, said = check(any_bundle)
    assert code == 0 and said.pop("all") == "ok"
    assert said.pop("SHA256SUMS") == "ok: no file was changed"
    assert set(said) == {"step.onnx", "step_b1.onnx", "sequence.onnx"}
    assert all(line.startswith("ok: 1") for line in said.values()), said


def test_changed_and_missing_files_are_named(copy):
    for name, factor in (("step.onnx", 1.01), ("sequence.onnx", 2)):
        model = changed(onnx.load(copy / name), "fc1.weight", lambda value, by=factor: value * np.float32(by))
        onnx.save(model, copy / name)
    (copy / "step_b1.onnx").unlink()
    code, said = check(copy)
    assert code == 1 and all(name in said["SHA256SUMS"] for name in ("step.onnx", "sequence.onnx", "step_b1.onnx"))
    assert all(said[name].startswith("NOT OK") for name in ("step.onnx", "sequence.onnx", "step_b1.onnx"))


@pytest.mark.parametrize("shape", [(3,), (2, 32), (1, 128), (5, 300, 4)])
def test_a_tensor_is_read_as_onnx_writes_it(tmp_path, shape):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    (tmp_path / "input_0.pb").write_bytes(onnx.numpy_helper.from_array(values, "x").SerializeToString())
    (tensor,) = receiver.tensors(tmp_path, "input")
    np.testing.assert_array_equal(tensor, values)


def test_numbers_below_the_smallest_normal_one_count_as_0():
    values = np.float32([2.0**-126, -(2.0**-126), 2.0**-127, -(2.0**-149), 1])
    assert receiver.flushed(values).tolist() == [2.0**-126, -(2.0**-126), 0, 0, 1]


def test_files_outside_the_bundle_are_not_opened_and_unlisted_ones_are_refused(copy, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    (copy / "link").symlink_to(secret)
    (copy / "\x1b[31mred").write_text("")
    with open(copy / "SHA256SUMS", "a") as file:
        file.writelines(f"{digest}  {name}\n" for name in (secret, "../secret", "link"))
    code, said = check(copy)
    assert code == 1
    assert said["SHA256SUMS"] == (
        f"NOT OK: '\\x1b[31mred' is not listed, '{secret}' is missing or changed, '../secret' is missing or changed, "
        "'link' is missing or changed"
    )


@pytest.mark.parametrize("isolated", [True, False])
def test_no_module_of_the_bundle_is_imported(copy, tmp_path, isolated):
    for name in ("numpy", "json", "onnxruntime"):
        (copy / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    command = [sys.executable, *["-I"] * isolated, "check_onnx.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=copy)
    assert not (tmp_path / "ran").exists()
    assert done.returncode == 1 and "'numpy.py' is not listed" in done.stdout


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
