"""`python -m export` says in one line why it refuses a run, and leaves nothing behind."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import INTEGRATOR, SMALL, export, make_run
from commands import ENVIRONMENT, call, run
from demos import unpacked
from digits import few_digits
from recordings import write_nmnist
from refusals import assert_refused, refused, refused_by_process

import csnn_jax
from csnn_jax import ModelConfig, data
from csnn_jax.data.events.folder import frames_of
from csnn_jax.runs import weights
from export.c import program


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.fixture
def finished(tmp_path):
    return make_run(tmp_path / "run", SMALL)


def test_bad_runs_are_refused(finished, tmp_path):
    out = ("--out", tmp_path / "bundle")
    refused_by_process("export", tmp_path / "nowhere", *out, names=[tmp_path / "nowhere"])
    metrics = finished / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("false", "true"))
    refused("export", finished, *out, names=(finished, "unfinished", "--resume", "--checkpoint last"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").touch()
    refused("export", tmp_path / "other", *out, names=(tmp_path / "other", "bundle", "run directory"))
    metrics.write_text(metrics.read_text().replace("true", "false"))
    config = json.loads((finished / "config.json").read_text())
    config["model"]["beta"] = 0.6
    (finished / "config.json").write_text(json.dumps(config))
    refused("export", finished, *out, names=(finished / "config.json", "model"))


def test_bad_flags_are_refused(finished, tmp_path):
    out = ("--out", tmp_path / "bundle")
    for flags, facts in (
        (("--opset", 17), ("--opset 17", "18 to 21")),
        (("--images", 0), ("--images 0", "at least 1")),
        (("--quick", "--thorough"), ("--quick", "--thorough")),
        (("--weight-bits", 9), ("--weight-bits 9", "2 to 8")),
        (("--opset", 18, "--weight-bits", 3), ("--opset 18", 19, "3 bits")),
        (("--time-steps", 10_001), ("--time-steps 10001", "1 to 10,000")),
        (("--prefix", "2nd"), ("--prefix 2nd", "C identifier")),
    ):
        refused("export", finished, *out, *flags, names=facts)
    refused("export", finished, "--out", finished, "--overwrite", names=(finished, "--overwrite", "bundle"))
    refused("export", finished, *out, "--checkpoint", 7, names=("--checkpoint 7", "best, last"))
    refused("export", finished, "--out", finished, names=(finished, "exists"))


def test_missing_packages_are_named(finished, tmp_path):
    code = (
        "import sys; sys.modules['onnxruntime'] = None; from export.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, finished, "--out", tmp_path / "bundle"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert_refused(done, "onnxruntime", "`pip install 'csnn-jax[export]'`")


@pytest.mark.slow
def test_a_bundle_with_fewer_steps_and_more_images_than_there_are(tmp_path):
    """Its files run and are proven for these steps only; the run's own accuracy remains that of the whole window."""
    name = few_digits(tmp_path / "digits", train=20, test=30)
    run = make_run(tmp_path / "run", replace(SMALL, encoding="rate"), name)
    bundle, metrics = tmp_path / "bundle", run / "metrics.jsonl"
    accuracy = csnn_jax.load(run).evaluate(data.load(name, SMALL.input_shape).test).accuracy
    metrics.write_text(metrics.read_text().replace('"accuracy": null', f'"accuracy": {accuracy}'))
    done = call("export", run, "--out", bundle, "--quick", "--time-steps", 3, "--images", 1234)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the test set has only 30 images; comparing spikes on all of them\n")
    made = json.loads((bundle / "manifest.json").read_text())
    assert (
        made["results"]["semantics"]["time_steps"] == 3 and made["results"]["job"]["time_steps"] == SMALL.time_steps > 3
    )
    assert made["statements"]["settings"]["images"] == made["results"]["accuracy_images"] == 30
    assert made["results"]["accuracy"] == accuracy, "as in metrics.jsonl, for the whole window"
    assert "Made with `--time-steps 3`" in (bundle / "report.md").read_text()
    assert "#define CSNN_TIME_STEPS 3\n" in (bundle / "c/network.h").read_text()
    done = call("export.verify", bundle, "--dataset", name)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_bundle_with_fewer_bits_and_another_prefix(dataset, tmp_path):
    """Its network is the rounded one, its accuracy was measured on that, and `export.verify` finds no difference."""
    run = make_run(tmp_path / "run", SMALL, dataset)
    printed = (export(run, tmp_path, "--weight-bits", 3, "--prefix", "small").parent / "printed").read_text()
    said = re.search(r"^--weight-bits 3: accuracy (\S+) before, (\S+) after \(64 test images, ", printed, re.M)
    config, tensors = weights.load(tmp_path / "bundle/weights.safetensors")
    assert config == replace(SMALL, weight_bits=3) and len(np.unique(abs(tensors["fc1.weight"][0]))) <= 4
    made = json.loads((tmp_path / "bundle/manifest.json").read_text())
    stated, results = made["statements"], made["results"]
    graph = results["files"]["sequence.onnx"]["graph"]
    assert stated["settings"]["opset"] == 21 and graph["operators"]["DequantizeLinear"] == 3
    assert [tool["name"] for tool in results["targets"]][:2] == ["ONNX Runtime Web", "snnTorch"], "others refuse int4"
    before, after = (f"{entry['accuracy']:.2%}" for entry in (stated["rounded"], results))
    assert said and (before, after) == said.groups()
    report = (tmp_path / "bundle/report.md").read_text()
    assert "Each weight has 3 bits, including the sign." in report and "**Made with `--weight-bits 3`**" in report
    assert stated["settings"]["prefix"] == "small" and "`small_classify`" in report
    assert "int small_classify(struct small_state *state" in (tmp_path / "bundle/c/csnn.h").read_text()
    few = make_run(tmp_path / "few", replace(SMALL, weight_bits=3), dataset)
    refused("export", few, "--out", tmp_path / "more", "--quick", "--weight-bits", 8, names=("--weight-bits 8", 3))
    whole = tmp_path / "bundle"
    refused("csnn_jax.evaluate", whole, names=(whole, "bundle"), unchanged=whole)
    assert call("export.verify", tmp_path / "bundle", "--quick", "--dataset", dataset).returncode == 0


@pytest.mark.slow
def test_a_bundle_with_other_neurons_is_made_smaller_in_every_way(tmp_path):
    """Fewer bits, no silent channels and fewer steps, read from membranes; the page is made, too."""
    name, bundle = few_digits(tmp_path / "digits", train=20, test=30), tmp_path / "bundle"
    run = make_run(tmp_path / "run", INTEGRATOR, name)
    flags = ("--weight-bits", 4, "--drop-silent", "--time-steps", 4)
    done = call("export", run, "--out", bundle, "--quick", "--images", 30, *flags)
    assert done.returncode == 0, done.stderr
    assert "--weight-bits 4: accuracy " in done.stdout and "--drop-silent keeps conv1 " in done.stdout
    made = json.loads((bundle / "manifest.json").read_text())
    assert made["results"]["semantics"]["output"] == "membrane" and made["results"]["semantics"]["time_steps"] == 4
    for figures in made["results"]["files"].values():
        for compared in (figures.get("onnxruntime"), figures.get("library"), figures.get("csnn_jax")):
            assert not compared or compared["membranes"] > 0 == compared["different_membranes"]
    done = call("export.verify", bundle, "--dataset", name)
    assert done.returncode == 0 and done.stdout.endswith("all ok\n"), done.stdout
    done = call("export.demo", bundle, "--out", tmp_path / "demo", "--ort-web", unpacked(tmp_path / "package"))
    assert done.returncode == 0, done.stderr


def recorded_run(tmp_path: Path) -> Path:
    config = ModelConfig(input_shape=(17, 17, 2), conv_channels=(3,), hidden=(), time_steps=5, scale=1.0)
    return make_run(tmp_path / "run", config, write_nmnist(tmp_path / "nmnist", 2, 2))


def test_more_steps_than_there_are_frames_are_refused(tmp_path):
    flags = ("--out", tmp_path / "bundle", "--time-steps", 6)
    refused("export", recorded_run(tmp_path), *flags, names=("--time-steps 6", "5 frames"), prints="5 steps")


@pytest.mark.slow
def test_a_bundle_with_only_the_first_frames(tmp_path):
    """Its C program splits a recording into as many frames as in training, and runs the first ones."""
    run, bundle = recorded_run(tmp_path), tmp_path / "bundle"
    done = call("export", run, "--out", bundle, "--quick", "--time-steps", 3)
    assert done.returncode == 0, done.stderr
    made = json.loads((bundle / "manifest.json").read_text())
    assert made["results"]["semantics"]["time_steps"] == 3 and made["results"]["job"]["time_steps"] == 5
    done = call("export.verify", bundle, "--dataset", f"nmnist:{tmp_path / 'nmnist'}")
    assert done.returncode == 0, done.stdout
    assert call("export.verify", bundle).returncode == 3, "its own images have only the first frames"
    (tmp_path / "built").mkdir()
    built = program.build(bundle / "c", tmp_path / "built")
    network = csnn_jax.load(run)
    for recording in sorted((tmp_path / "nmnist/Test").rglob("*.bin"))[:5]:
        said = subprocess.run([built.program, "--events", recording], capture_output=True, text=True, check=True)
        counts = network.classify(frames_of(str(recording), network.config)[None, :3]).scores[0]
        assert said.stdout == f"class {counts.argmax()}, spike counts {' '.join(map(str, counts))}\n"


def test_onnx_runtime_reports_nothing(tmp_path):
    """Reporting would leave an identifier and a database in these folders."""
    folders = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    environment = {"PATH": os.environ["PATH"], **folders}  # without CI, which would silence it
    subprocess.run([sys.executable, "-c", "import export, onnxruntime"], env=environment, check=True)
    assert not list(tmp_path.iterdir())


OLD = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}


def run_at(cores: set[int], settings: dict[str, str], module: str, *arguments: object) -> str:
    """Runs a command there. Torch's threads follow OMP_NUM_THREADS; those of XLA and ONNX Runtime follow the cores."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # the process inherits it
    try:
        done = run(module, *arguments, env=ENVIRONMENT | settings)
    finally:
        os.sched_setaffinity(0, all_cores)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.mark.slow
def test_a_bundle_made_with_older_instructions_on_one_core_verifies_here_and_with_one_thread(tmp_path):
    cores, bundle = os.sched_getaffinity(0), tmp_path / "bundle"
    run_at({min(cores)}, OLD, "export", make_run(tmp_path / "run", SMALL), "--out", bundle, "--quick")
    for settings in ({}, {"OMP_NUM_THREADS": "1"}):
        assert run_at(cores, settings, "export.verify", bundle).splitlines()[-1] == "all ok"
