"""`python -m export.demo` makes a whole folder, or says in one line why not and leaves nothing."""

import json
import os
import shutil
import signal
import urllib.request
from pathlib import Path

import pytest
from bundles import rehash
from commands import call, refused, refused_by_process, run, start
from demos import unpacked

PAGE = {"index.html", "style.css", "main.js", "demo.json", "samples.bin", "step.onnx", "ort"}


@pytest.fixture
def runtime(tmp_path) -> Path:
    return unpacked(tmp_path / "package")


@pytest.fixture
def copy(small_bundle, tmp_path) -> Path:
    """A bundle to be damaged."""
    return Path(shutil.copytree(small_bundle, tmp_path / "bundle"))


def test_the_folder_is_whole(small_bundle, runtime, tmp_path):
    out = tmp_path / "deep" / "demo"
    done = run("export.demo", small_bundle, "--out", out, "--ort-web", runtime)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "ONNX Runtime Web 0.0.1" in done.stdout and f"--directory {out}" in done.stdout
    assert set(os.listdir(out)) >= PAGE and os.listdir(out.parent) == ["demo"]
    assert sorted(os.listdir(out / "ort")) == ["ort-wasm-simd-threaded.wasm", "ort.js"]
    assert (out / "step.onnx").read_bytes() == (small_bundle / "step.onnx").read_bytes()
    for path in out.rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes(), path


def test_a_demonstration_is_replaced_on_demand_only(small_bundle, runtime, tmp_path):
    job = (small_bundle, "--ort-web", runtime, "--out")
    assert call("export.demo", *job, tmp_path / "demo").returncode == 0
    assert "exists already; expected another path, or --overwrite" in refused("export.demo", *job, tmp_path / "demo")
    names = ("--class-names", *"abcdefghij")
    assert call("export.demo", *job, tmp_path / "demo", "--overwrite", *names).returncode == 0
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["classes"] == [*"abcdefghij"]
    assert "is no demonstration" in refused("export.demo", *job, runtime, "--overwrite")
    assert "is no demonstration" in refused("export.demo", *job, small_bundle, "--overwrite")


def test_bad_input_is_refused_in_one_line(small_bundle, runtime, tmp_path):
    out = ("--out", tmp_path / "demo", "--ort-web", runtime)
    assert refused("export.demo", tmp_path, *out).endswith(
        "is no bundle, expected a directory with manifest.json in it"
    )
    assert refused("export.demo", small_bundle, *out, "--class-names", "a", "b") == (
        "error: --class-names: 2 names, expected 10, one for each class"
    )
    for names in (["a"] * 10, [*"abcdefghi", ""]):
        said = refused("export.demo", small_bundle, *out, "--class-names", *names)
        assert said.endswith("expected names that differ, and none empty")
    inside = small_bundle / "demo"
    assert refused("export.demo", small_bundle, "--out", inside) == (
        f"error: --out {inside}: lies in the bundle, expected a folder outside it"
    )
    assert not inside.exists()
    assert refused("export.demo", small_bundle, *out, "--port", 1) == "error: --port 1: expected --serve beside it"
    assert "--port -1: expected 0 to 65535" in refused("export.demo", small_bundle, *out, "--serve", "--port", -1)
    assert "expected an unpacked package" in refused("export.demo", small_bundle, *out[:3], tmp_path)
    assert os.listdir(tmp_path) == ["package"]


@pytest.mark.parametrize("name", ["step.onnx", "config.json", "golden/images.safetensors", "SHA256SUMS"])
def test_a_damaged_bundle_is_refused(name, copy, runtime, tmp_path):
    out = ("--out", tmp_path / "demo", "--ort-web", runtime)
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert name in refused("export.demo", copy, *out)
    (copy / name).unlink()
    assert name in refused("export.demo", copy, *out)
    assert not (tmp_path / "demo").exists()


def test_a_bundle_without_a_step_is_refused(copy, runtime, tmp_path):
    (copy / "step.onnx").unlink()
    rehash(copy)
    line = refused("export.demo", copy, "--out", tmp_path / "demo", "--ort-web", runtime)
    assert line == f"error: {copy}: has no step.onnx, expected a bundle that `python -m export` made"


def test_a_missing_npm_is_told_in_one_line(small_bundle, tmp_path):
    environment = {**os.environ, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    line = refused_by_process("export.demo", small_bundle, "--out", tmp_path / "demo", env=environment)
    assert "onnxruntime-web@" in line and "npm is not installed" in line and "or --ort-web" in line
    assert os.listdir(tmp_path) == []


def test_it_serves_until_it_is_interrupted(small_bundle, runtime, tmp_path):
    job = (small_bundle, "--out", tmp_path / "demo", "--ort-web", runtime)
    process = start("export.demo", *job, "--serve", "--port", 0)
    assert process.stdout is not None
    process.stdout.readline()
    address = process.stdout.readline().split()[1]
    with urllib.request.urlopen(f"{address}demo.json") as answer:
        assert json.load(answer)["steps"] == 6
    port = address.rstrip("/").rpartition(":")[2]
    other = (small_bundle, "--out", tmp_path / "other", "--ort-web", runtime, "--serve", "--port", port)
    assert f"--port {port}: Address already in use" in refused("export.demo", *other)
    assert not (tmp_path / "other").exists()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "interrupted\n")
