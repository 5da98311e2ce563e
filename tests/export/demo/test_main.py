"""`python -m export.demo` makes a complete folder, or says in one line why not and leaves nothing behind."""

import json
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
    refused("export.demo", *job, tmp_path / "demo", names=(tmp_path / "demo", "exists", "--overwrite"))
    names = ("--class-names", *"abcdefghij")
    assert call("export.demo", *job, tmp_path / "demo", "--overwrite", *names).returncode == 0
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["classes"] == [*"abcdefghij"]
    for folder in (runtime, small_bundle):
        refused("export.demo", *job, folder, "--overwrite", names=(folder, "demonstration"))


def test_bad_input_is_refused_in_one_line(small_bundle, runtime, tmp_path):
    out, inside = ("--out", tmp_path / "demo", "--ort-web", runtime), small_bundle / "demo"
    for arguments, names in (
        ((small_bundle, *out, "--class-names", "a", "b"), ("--class-names", 2, 10)),
        ((small_bundle, *out, "--class-names", *["a"] * 10), ("--class-names", "distinct")),
        ((small_bundle, "--out", inside), (f"--out {inside}", "outside")),
        ((small_bundle, *out, "--port", 1), ("--port 1", "--serve")),
        ((small_bundle, *out, "--serve", "--port", -1), ("--port -1", 0, 65535)),
    ):
        refused("export.demo", *arguments, names=names)
    refused("export.demo", small_bundle, *out[:3], tmp_path, names=(f"--ort-web {tmp_path}", "package"))


def test_a_damaged_bundle_is_refused(copy, runtime, tmp_path):
    out = ("--out", tmp_path / "demo", "--ort-web", runtime)
    for name in ("step.onnx", "config.json", "golden/images.safetensors", "SHA256SUMS"):
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        refused("export.demo", copy, *out, names=[name])
        (copy / name).unlink()
        refused("export.demo", copy, *out, names=[name])
        (copy / name).write_bytes(data)
    (copy / "step.onnx").unlink()
    rehash(copy)
    refused("export.demo", copy, *out, names=(copy, "step.onnx"))


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
    refused("export.demo", *other, names=[f"--port {port}"])
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
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{address}../secret")
        assert caught.value.code == 404
        caught.value.close()
