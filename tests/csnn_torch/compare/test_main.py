"""`python -m csnn_torch.compare` answers its questions, names broken bounds, and refuses what would prove nothing."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from bundles import make_run
from commands import OPTIMISED, call, run
from refusals import refused

from csnn_jax.config import Config, ModelConfig
from csnn_jax.network import library, neuron
from csnn_jax.runs import rundir
from csnn_jax.runs.equality import KINDS
from csnn_torch.compare import __main__ as command
from csnn_torch.compare import questions
from csnn_torch.compare.questions import QUICK

MODULE = "csnn_torch.compare"


def test_a_wrong_run_or_folder_is_refused_before_anything_is_compared(of_arrays, tmp_path):
    out, run = tmp_path / "out", of_arrays / "run"
    refused(MODULE, tmp_path / "nope", "--out", out, names=[tmp_path / "nope"])
    refused(MODULE, run, "--dataset", "mnist", "--out", run, names=(f"--out {run}", "run directory"))
    refused(MODULE, "--dataset", "mnist", "--out", out, names=("--dataset mnist", "RUN"))


@pytest.fixture(scope="module")
def of_arrays(tmp_path_factory):
    """A run on arrays, whose layers all fire, in a folder with the arrays' files."""
    folder = tmp_path_factory.mktemp("arrays")
    images, labels = np.random.default_rng(0).random((160, 8, 8, 1), np.float32), np.arange(160) % 3
    np.savez(folder / "test.npz", images=images[:40], labels=labels[:40])
    stack = ModelConfig((8, 8, 1), (4,), hidden=(8,), num_classes=3, time_steps=6, surrogate="atan", pool="avg")
    make_run(folder / "run", stack, "arrays")
    return folder


def test_a_network_for_arrays_is_compared_on_an_array_file(of_arrays, tmp_path):
    out = tmp_path / "out"
    flags = (of_arrays / "run", "--out", out, "--quick")
    refused(MODULE, *flags, names=["--dataset arrays"])
    few = ("--dataset", f"arrays:{of_arrays / 'test.npz'}")
    advice = "--questions network --quick"
    refused(MODULE, *flags, *few, names=("train_images", "train_labels", advice))
    done = call(MODULE, *flags, *few, "--questions", "network")
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads((out / "comparison.json").read_text())
    assert [(s["engine"], s["refused"], *(s[f"different_{kind}"] for kind in KINDS)) for s in values["spikes"]] == [
        ("scan", None, 0, 0, 0),
        ("event", None, 0, 0, 0),
    ]
    assert "--dataset DATASET" in values["origins"]["network"]["command"]


@pytest.mark.slow
def test_the_command_answers_all_questions(small_run, tmp_path):
    flags = (small_run, "--out", tmp_path / "out", "--quick", "--figures", "pdf")
    done = run(MODULE, *flags, env=OPTIMISED | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert values["bounds"] > 10 and values["broken"] == []
    exact = values["trajectories"][1]
    assert exact["dtype"] == "float64" and exact["parted"] is None
    losses = exact["losses"]["snntorch"]
    assert len(losses) == QUICK.exact_iterations and losses[0] != losses[1]
    costs = {cost["side"]: cost for cost in values["costs"]}
    assert set(values["origins"]) == {"cost", "network", "training"}
    assert list(costs) == ["scan", "event", "snntorch"]
    for cost in costs.values():
        assert cost["step_s"] > 0 and cost["infer_s"] > 0 and cost["peak_memory_mb"] > 100
        assert [len(cost["step"][clock]) for clock in ("clock", "processor")] == [3, 3] and len(cost["others"]) == 3
        assert min(map(min, cost["step"]["processor"])) > 0 and all(0 <= share <= 1 for share in cost["others"])
        assert len(cost["predictions"]) == 128 and cost["predictions"] == costs["snntorch"]["predictions"]
        assert "threads" in cost["description"]
    assert (tmp_path / "out" / "comparison.pdf").read_bytes().startswith(b"%PDF")


def test_a_broken_bound_is_named_and_the_exit_code_is_1(of_arrays, tmp_path, monkeypatch, recompiled, capsys):
    def other(kind, values, *rest):
        return neuron.fire(kind, {**values, "threshold": 1.01 * values["threshold"]}, *rest)

    monkeypatch.setattr(library, "fire", other)
    data = (str(of_arrays / "run"), "--dataset", f"arrays:{of_arrays / 'test.npz'}")
    flags = *data, "--out", str(tmp_path), "--quick", "--questions", "network"
    monkeypatch.setattr(sys, "argv", ["csnn-compare", *flags])
    assert command.main() == 1
    printed, text = capsys.readouterr().out, (tmp_path / "comparison.md").read_text()
    for what in ("membranes", "spikes"):
        assert f"Broken: run, scan: {what} that differ: " in printed and f"**Broken**: run, scan: {what}" in text
    assert "first at step 0, lif1, image " in text and "\nnetwork: " in text
    assert "csnn_torch.compare RUN --dataset DATASET --out OUT --quick --questions network" in text
    again = (tmp_path / "nope", "--out", tmp_path)  # the results are looked for first
    refused(MODULE, *again, names=(f"--out {tmp_path}", "--overwrite"), unchanged=tmp_path)
    refused(MODULE, *again, "--overwrite", names=[tmp_path / "nope"], unchanged=tmp_path)


@pytest.mark.parametrize(
    "name", ["comparison.json", "comparison.md", "run/config.json", "config.json", "manifest.json"]
)
def test_files_that_a_comparison_would_replace_are_named(tmp_path, name):
    (path := tmp_path / name).parent.mkdir(exist_ok=True)
    path.write_text("mine")
    kinds = {"config.json": "run directory", "manifest.json": "bundle"}
    refused(MODULE, "--out", tmp_path, names=(f"--out {tmp_path}", kinds.get(name, name)), unchanged=tmp_path)


def test_without_a_run_the_default_network_is_trained_first(tmp_path, monkeypatch):
    """Here the default network is a small one."""
    stack = ModelConfig(conv_channels=(4,), hidden=(8,), time_steps=8)
    monkeypatch.setattr(questions, "Config", lambda: Config(stack))
    monkeypatch.setattr(questions, "ANSWERS", {})
    flags = command.CompareFlags(out=str(tmp_path))
    assert command.compare(flags, replace(QUICK, variant_iterations=1), "") == 0
    _, config, tensors = rundir.open_run(str(tmp_path / "run"))
    assert [*config.model.graph] == [*stack.graph] and len(tensors) == 6
