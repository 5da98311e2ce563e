"""`python -m export.demo` makes a complete folder, or says in one line why not and leaves nothing behind."""

import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from bundles import rehash
from commands import call, start
from demos import served, unpacked
from refusals import refused


@pytest.fixture
def runtime(tmp_path) -> Path:
    return unpacked(tmp_path / "package")


def test_a_demonstration_is_replaced_only_on_request(small_bundle, runtime, tmp_path):
    job = (small_bundle, "--ort-web", runtime, "--out")
    assert call("export.demo", *job, tmp_path / "demo").returncode == 0
    assert "already exists; expected another path, or --overwrite" in refused("export.demo", *job, tmp_path / "demo")
    names = ("--class-names", *"abcdefghij")
    assert call("export.demo", *job, tmp_path / "demo", "--overwrite", *names).returncode == 0
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["classes"] == [*"abcdefghij"]
    assert "isn't a demonstration" in refused("export.demo", *job, runtime, "--overwrite")
    assert "isn't a demonstration" in refused("export.demo", *job, small_bundle, "--overwrite")


def test_bad_input_is_refused_in_one_line(small_bundle, runtime, tmp_path):
    out, inside = ("--out", tmp_path / "demo", "--ort-web", runtime), small_bundle / "demo"
    for arguments, said in (
        ((small_bundle, *out, "--class-names", "a", "b"), "--class-names: 2 names, expected 10, one for each class"),
        ((small_bundle, *out, "--class-names", *["a"] * 10), "expected distinct names, none of them empty"),
        ((small_bundle, "--out", inside), f"--out {inside}: is inside the bundle, expected a folder outside it"),
        ((small_bundle, *out, "--port", 1), "--port 1: expected --serve, too"),
        ((small_bundle, *out, "--serve", "--port", -1), "--port -1: expected 0 to 65535"),
    ):
        assert refused("export.demo", *arguments).endswith(said)
    assert "expected an unpacked package" in refused("export.demo", small_bundle, *out[:3], tmp_path)
    assert os.listdir(tmp_path) == ["package"] and not inside.exists()


def test_a_damaged_bundle_is_refused(copy, runtime, tmp_path):
    out = ("--out", tmp_path / "demo", "--ort-web", runtime)
    for name in ("step.onnx", "config.json", "golden/images.safetensors", "SHA256SUMS"):
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert name in refused("export.demo", copy, *out)
        (copy / name).unlink()
        assert name in refused("export.demo", copy, *out)
        (copy / name).write_bytes(data)
    (copy / "step.onnx").unlink()
    rehash(copy)
    assert "has no step.onnx, expected a bundle from `python -m export`" in refused("export.demo", copy, *out)
    assert not (tmp_path / "demo").exists()


def test_it_serves_until_interrupted(small_bundle, runtime, tmp_path):
    job = (small_bundle, "--out", tmp_path / "demo", "--ort-web", runtime)
    process = start("export.demo", *job, "--serve", "--port", 0)
    assert process.stdout is not None
    assert "ONNX Runtime Web 0.0.1" in process.stdout.readline()
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


def test_the_server_sends_the_types_that_browsers_require_and_nothing_outside_its_folder(tmp_path):
    names = {"a.js": "text/javascript", "a.mjs": "text/javascript", "a.wasm": "application/wasm"}
    (tmp_path / "page").mkdir()
    for name in names:
        (tmp_path / "page" / name).write_text(name)
    (tmp_path / "secret").write_text("secret")
    with served(tmp_path / "page") as address:
        for name, kind in names.items():
            with urllib.request.urlopen(address + name) as answer:
                assert answer.headers["Content-Type"] == kind and answer.headers["Cache-Control"] == "no-cache"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}../secret")
