"""A trained run becomes a bundle whose manifest describes it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from bundles import SMALL, SPIKES, make_checkpoint, make_run
from commands import run
from export_networks import OTHER, firing
from refusals import refusing

import csnn_jax
from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.errors import UserError
from csnn_jax.runs.rundir import RunDir
from export import make, manifest, parts, reference
from export.make import Making
from export.network import Bundle, Network
from export.parts.part import CheckResult
from export.proof import received
from export.settings import Settings, for_data
from export.verification import Lines, Verifying


def test_a_trained_run_becomes_a_bundle(small_bundle, scan_run):
    path = small_bundle
    of_parts = {name.rstrip("/") for part in parts.every() for name in part.what}
    assert of_parts >= {"step.onnx", "step_b1.onnx", "sequence.onnx", "c", "golden"}
    others = {"config.json", "manifest.json", "SHA256SUMS", "report.md", "report.html"}
    assert {*os.listdir(path)} == of_parts - {"golden/c"} | others
    assert sorted(os.listdir(path.parent)) == ["bundle", "printed"]
    lines = (path.parent / "printed").read_text().splitlines()
    assert lines[-1] == f"Bundle: {path}"
    said = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[:-1]}
    assert {name.rstrip("/") for name in said} == of_parts and all(text.startswith("ok") for text in said.values())
    for name in ("config.json", "weights.safetensors"):
        assert (path / name).read_bytes() == (scan_run / name).read_bytes()


def test_an_unsupported_format_is_reported_in_one_line(spikes):
    first, *others = (spikes.parent / "printed").read_text().splitlines()
    assert first.startswith("no NIR file: NIR resets a neuron ") and "--reset zero" in first
    assert not any(line.startswith("no ") for line in others)
    assert json.loads((spikes / "manifest.json").read_text())["results"]["files"]["step.onnx"]["graph"]["opset"] == {
        "ai.onnx": 19
    }


def test_the_manifest_describes_inputs_and_expected_results(small_bundle, scan_run):
    path = small_bundle
    recorded = manifest.read(path)
    stated, results = recorded["statements"], recorded["results"]
    end = [json.loads(line) for line in (scan_run / "metrics.jsonl").read_text().splitlines()][-1]
    assert [*recorded] == ["schema_version", "statements", "hashes", "results"]
    assert [*stated] == ["made", "training", "data", "settings", "latency"]
    assert stated["training"] == {"iterations": end["iter"], "seconds": end["seconds"]}
    assert results["accuracy"] == end["accuracy"] > 0.3
    assert [*results["job"]] == [
        "dataset",
        "seed",
        "dtype",
        "time_steps",
        "weight_bits",
    ]
    step = results["files"]["step.onnx"]["graph"]
    assert step["opset"] == {"ai.onnx": 20} and step["operators"]["Gemm"] == 2
    assert step["inputs"][1] == {"name": "mem1", "type": "float", "shape": ["N", 4, 14, 14], "initial": 0.0}
    assert results["numbers"]["total"]["parameters"] == 4 * 9 + 4 + 16 * 784 + 16 + 160 + 10
    assert stated["settings"] == {"opset": 20, "images": 8, "effort": "quick", "time_steps": None, "prefix": "csnn"}
    assert results["accuracy_images"] == 100
    assert set(stated["latency"]) == {*(name for name, one in results["files"].items() if "graph" in one), "c/"}
    assert all(0 < one["median_ms"] <= one["p99_ms"] for one in stated["latency"].values())
    memory = results["files"]["c/"]["memory"]
    padded, channels = 9 * 8 + 784 * 16 + 16 * 16, 4 + 16 + 10
    assert memory["constant_bytes"] == 4 * padded + 8 * channels < 10 * memory["state_bytes"]
    sizes = {name: (path / name).stat().st_size for name in recorded["hashes"]}
    assert {name: entry["bytes"] for name, entry in recorded["hashes"].items()} == sizes
    check = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=path, capture_output=True, text=True)
    assert check.returncode == 0 and len(check.stdout.splitlines()) == len(sizes) + 1
    assert "manifest.json: OK" in check.stdout and "step.onnx: OK" in check.stdout


@pytest.mark.slow
def test_a_checkpoint_becomes_a_bundle_that_says_so(tmp_path):
    """Even if the run isn't finished."""
    made, out = make_run(tmp_path / "run", SPIKES), tmp_path / "bundle"
    folder = make_checkpoint(made, 40)
    metrics = made / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("false", "true"))
    done = run("export", made, "--out", out, "--quick", "--checkpoint", "last")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert (out / "weights.safetensors").read_bytes() == (folder / "weights.safetensors").read_bytes()
    whole = csnn_jax.load(made, checkpoint="last").evaluate(data.load("mnist", SPIKES.input_shape).test)
    recorded = manifest.read(out)
    assert recorded["statements"]["training"] == {"iterations": 40, "seconds": None, "checkpoint": 40}
    assert recorded["results"]["accuracy"] == whole.accuracy
    job = {"seed": 3, "dtype": "float32", "time_steps": SPIKES.time_steps, "weight_bits": 3, "dataset": "mnist"}
    assert recorded["results"]["job"] == job
    report = (out / "report.md").read_text()
    assert f"classified {whole.accuracy:.2%} of the test images correctly" in report
    assert "The weights are from checkpoint 40, which" in report
    done = run("export.verify", out)
    assert done.returncode == 0, done.stdout


def test_an_accuracy_recorded_in_training_is_used_if_it_is_that_of_the_whole_test_set(tmp_path):
    run = RunDir(make_run(tmp_path / "run", SMALL))
    run.record("end", iter=70, interrupted=False, accuracy=0.25, seconds=2.0)
    config = run.config()
    assert make._training(run, config) == ({"iterations": 70, "seconds": 2.0}, 0.25)
    for other in (
        replace(config, model=replace(config.model, weight_bits=4)),
        replace(config, data=replace(config.data, dataset="fashion")),
        *(replace(config, train=replace(config.train, **one)) for one in ({"dtype": "float64"}, {"eval_images": 9})),
    ):
        assert make._training(run, other)[1] is None


def test_without_plotly_the_page_is_left_out(small_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "plotly", None)
    whole = manifest.read(small_bundle)
    del whole["hashes"]["report.html"]
    make.write_reports(tmp_path, whole)
    said = capsys.readouterr().out
    assert said.startswith("no report.html: the report needs plotly (") and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"] and "report.html" not in whole["hashes"]
    assert whole["hashes"]["report.md"]["bytes"] == (tmp_path / "report.md").stat().st_size


def test_a_bundle_is_made_and_verified_in_the_same_steps(small_bundle, tmp_path):
    recorded = manifest.read(small_bundle)
    opened = received.open_bundle(small_bundle, tmp_path, recorded)
    verifying = Verifying(*opened, Lines(), small_bundle, recorded, None, True)
    tasks = [step.task for step in Making(*opened, {}).steps()]
    assert tasks == [step.task for step in verifying.steps()]
    written = [f"writing {name}" for name in ("config.json", *(next(iter(part.what)) for part in parts.every()))]
    checked = [f"checking {name}" for part in parts.every() for name in part.what]
    timed = [f"timing {name}" for name in recorded["statements"]["latency"]]
    others = ["comparing the files", "describing the results", "the report"]
    assert sorted(tasks) == sorted([*written, *checked, *timed, *others])
    assert tasks[: len(written)] == written and tasks[-1] == "the report"
    assert not any((tmp_path / "bundle").iterdir()), "nothing is done before a step runs"


def test_shared_results_are_computed_once(tmp_path):
    onnx.save(firing(OTHER).models["step.onnx"], tmp_path / "step.onnx")
    config = Config(replace(OTHER, scale=1.0))
    network, none = Network(config, firing(OTHER).tensors, recorded=20), Split(np.zeros((0, 1, 1, 1)), np.arange(0))
    bundle = Bundle(tmp_path, tmp_path / "scratch", network, config, 20, none)
    assert bundle.step_graph is bundle.step_graph and bundle.step_graph == firing(OTHER).models["step.onnx"]
    header = (bundle.sources / "network.h").read_text()
    assert "#define CSNN_WINDOW_FRAMES 20 " in header and "#define CSNN_FRAMES 12 " in header
    built = bundle.program.program.stat().st_mtime_ns
    assert bundle.program.program.stat().st_mtime_ns == built


def test_images_other_than_bytes_are_refused():
    """Bundles store bytes."""
    with refusing(ValueError, "images", "float32", "uint8"):
        reference.inputs(OTHER, np.zeros((1, *OTHER.input_shape), np.float32))
    split = Split(np.zeros((2, *OTHER.input_shape), np.float32), np.zeros(2, int))
    with refusing(UserError, "dataset mine", "float32", "bytes"):
        make.check_images(SimpleNamespace(name="mine", test=split))


def test_a_problem_with_a_file_ends_the_bundle():
    with refusing(UserError, "step.onnx", "differs"):
        Making(None, None, None, {}).checked(parts.every()[0], "step.onnx", CheckResult({}, ["differs"]))


def test_accuracy_is_measured_on_as_many_images_as_the_effort_specifies():
    test = Split(np.zeros((1200, 2, 2, 1), np.uint8), np.arange(1200))
    for effort, images, count in (
        ("quick", 3, 100),
        ("quick", 200, 200),
        ("usual", 3, 1000),
        ("usual", 3000, 1200),
        ("thorough", 3, 1200),
    ):
        assert len(Settings(20, images, effort).split(test).labels) == count
    frames = Split(np.zeros((4, 9, 2, 2, 1), np.uint8), np.arange(4))
    assert Settings(20, 1, "quick", 5).split(frames).images.shape == (4, 5, 2, 2, 1)


def test_data_with_a_time_axis_determine_the_number_of_steps():
    frames = np.zeros((2, 9, *OTHER.input_shape), np.uint8)
    config = for_data(Config(OTHER), Split(frames, np.zeros(2, int)))
    assert config.model.time_steps == 9 != OTHER.time_steps
    assert Settings(20, 1, "quick", 9).fitted(config, Split(frames, np.zeros(2, int))) == config
    assert for_data(Config(OTHER), Split(frames[:, 0], np.zeros(2, int))).model == OTHER


def test_a_window_that_would_fill_the_memory_is_refused():
    test = Split(np.zeros((2, *OTHER.input_shape), np.uint8), np.zeros(2, int))
    long = replace(OTHER, time_steps=10_001)
    assert Settings(20, 1, "quick", 10_000).fitted(Config(long), test).model.time_steps == 10_000
    with refusing(UserError, "time_steps 10001", 10_000):
        Settings(20, 1, "quick").fitted(Config(long), test)
