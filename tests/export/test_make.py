"""A trained run becomes a bundle, and the manifest tells what is in it."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from bundles import SPIKES, make_checkpoint, make_run
from commands import run
from idx_files import write_folder

import csnn_jax
from csnn_jax import data
from export import make, parts


def test_a_trained_run_becomes_a_bundle(small_bundle, scan_run):
    path = small_bundle
    of_parts = {name.rstrip("/") for part in parts.every() for name in part.what}
    assert of_parts >= {"step.onnx", "step_b1.onnx", "sequence.onnx", "step_int8.onnx", "c", "golden"}
    others = {"config.json", "manifest.json", "SHA256SUMS", "report.md", "report.html"}
    assert {*os.listdir(path)} == of_parts - {"golden/c", "c/weights_int8.h"} | others
    assert sorted(os.listdir(path.parent)) == ["bundle", "printed"]
    lines = (path.parent / "printed").read_text().splitlines()
    assert lines[-1] == f"Bundle: {path}"
    said = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[:-1]}
    assert {name.rstrip("/") for name in said} == of_parts and all(text.startswith("ok") for text in said.values())
    for name in ("config.json", "weights.safetensors"):
        assert (path / name).read_bytes() == (scan_run / name).read_bytes()


def test_a_format_that_the_network_can_not_have_is_missed_in_one_line(spikes):
    first, *others = (spikes.parent / "printed").read_text().splitlines()
    assert first.startswith("no NIR file: NIR resets a neuron ") and "--reset zero" in first
    assert not any(line.startswith("no ") for line in others)
    assert json.loads((spikes / "manifest.json").read_text())["onnx"]["step.onnx"]["opset"] == {"ai.onnx": 18}


def test_the_manifest_says_how_to_call_and_what_to_expect(small_bundle, scan_run):
    path = small_bundle
    manifest = json.loads((path / "manifest.json").read_text())
    end = [json.loads(line) for line in (scan_run / "metrics.jsonl").read_text().splitlines()][-1]
    assert manifest["training"]["accuracy"] == end["accuracy"] > 0.3
    assert list(manifest["training"]) == ["accuracy", "iterations", "seconds", "seed", "dtype", "time_steps"]
    step = manifest["onnx"]["step.onnx"]
    assert step["opset"] == {"ai.onnx": 20} and step["operators"]["Gemm"] == 2
    assert step["inputs"][1] == {"name": "mem1", "type": "float", "shape": ["N", 4, 14, 14], "initial": 0.0}
    assert [layer["threshold"] for layer in manifest["semantics"]["layers"]] == [1.0, 1.0, 1.0]
    assert manifest["semantics"]["equations"]["membrane"] == "U[t] = beta * (1 - R[t]) * U[t-1] + I[t]"
    assert manifest["numbers"]["total"]["parameters"] == 4 * 9 + 4 + 16 * 784 + 16 + 160 + 10
    counts = {"images": 8, "accuracy_images": 100}
    assert manifest["settings"] == {"opset": 20, "effort": "quick", "time_steps": None, "drop_silent": False, **counts}
    assert set(manifest["latency"]) == {*manifest["onnx"], "c/", "c/weights_int8.h"}
    assert all(0 < one["median_ms"] <= one["p99_ms"] for one in manifest["latency"].values())
    memory = manifest["proof"]["c/"]["memory"]
    assert memory["constant_bytes"] == 4 * manifest["numbers"]["total"]["parameters"] < 10 * memory["state_bytes"]
    sizes = {name: (path / name).stat().st_size for name in manifest["files"]}
    assert {name: entry["bytes"] for name, entry in manifest["files"].items()} == sizes
    check = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=path, capture_output=True, text=True)
    assert check.returncode == 0 and len(check.stdout.splitlines()) == len(sizes) + 1
    assert "manifest.json: OK" in check.stdout and "step.onnx: OK" in check.stdout


@pytest.mark.slow
def test_a_checkpoint_becomes_a_bundle_that_says_so(tmp_path):
    """Of a run that is not finished, too."""
    made, out = make_run(tmp_path / "run", SPIKES), tmp_path / "bundle"
    folder = make_checkpoint(made, 40)
    metrics = made / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("false", "true"))
    done = run("export", made, "--out", out, "--quick", "--checkpoint", "last")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert (out / "weights.safetensors").read_bytes() == (folder / "weights.safetensors").read_bytes()
    manifest = json.loads((out / "manifest.json").read_text())
    whole = csnn_jax.load(made, checkpoint="last").evaluate(data.load("mnist", SPIKES.input_shape).test)
    expected = {"iterations": 40, "seconds": None, "seed": 3, "dtype": "float32", "time_steps": SPIKES.time_steps}
    assert manifest["training"] == expected | {"accuracy": whole.accuracy, "checkpoint": 40}
    report = (out / "report.md").read_text()
    assert f"classified {whole.accuracy:.2%} of the test images right" in report
    assert "The weights are those of checkpoint 40, which" in report
    done = run("export.verify", out)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.rare
def test_whoever_receives_a_silent_network_learns_that_it_is_one(tmp_path):
    made, out = make_run(tmp_path / "run", replace(SPIKES, threshold=1000.0)), tmp_path / "bundle"
    done = run("export", made, "--out", out, "--quick")
    assert done.returncode == 0, done.stderr
    names = ", ".join(layer.name for layer in SPIKES.layers)
    warning = f"the neurons after {names} never spiked, so equal spikes prove little"
    assert f"warning: {warning}" in done.stdout and f"**Warning: {warning}.**" in (out / "report.md").read_text()
    done = run("export.verify", out, "--quick")
    assert done.returncode == 0 and done.stdout.splitlines()[-1].endswith(f"; {warning})"), done.stdout


@pytest.mark.slow
def test_more_images_than_the_test_set_has_are_told_in_one_line(tmp_path):
    mnist = data.load("mnist", SPIKES.input_shape)
    (tmp_path / "images").mkdir()
    few = [(split.images[:30, ..., 0], split.labels[:30]) for split in (mnist.train, mnist.test)]
    made = make_run(tmp_path / "run", SPIKES, f"idx:{write_folder(tmp_path / 'images', *few)}")
    done = run("export", made, "--out", tmp_path / "bundle", "--quick", "--images", 1234)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the test set has 30 images, and spikes are compared on all of them\n")
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    counts = {"images": 30, "accuracy_images": 30}
    assert manifest["settings"] == {"opset": 20, "effort": "quick", "time_steps": None, "drop_silent": False, **counts}


def test_without_plotly_the_page_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "plotly", None)
    make._write_page(tmp_path, {})
    said = capsys.readouterr().out
    assert said.startswith("no report.html: the report needs plotly (") and said.count("\n") == 1
    assert "pip install 'csnn-jax[report]'" in said and not list(tmp_path.iterdir())
