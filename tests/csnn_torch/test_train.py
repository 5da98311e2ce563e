"""`python -m csnn_torch.train` from the command line, and weights that move in both directions."""

import json
import os
import signal
import sys

import pytest
from commands import ENVIRONMENT, run, start
from refusals import refused
from trainings import records

from csnn_jax import evaluate

MODULE = "csnn_torch.train"
STACK = (
    *("--conv-channels", 4, 8, "--hidden", 16, "--threshold", 0.1, "--time-steps", 8),
    *("--batch-size", 32, "--eval-every", 4),
)
ONE_THREAD = {"env": ENVIRONMENT | {"OMP_NUM_THREADS": "1"}}


OPTIMIZATION = (
    *("--optimizer", "adamw", "--schedule", "cosine", "--warmup", 3),
    *("--clip-norm", 0.1, "--label-smoothing", 0.1, "--ema", 0.9, "--dropout", 0.2),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("neurons", "health"),
    [
        ((), "Health: saturated layers: lif2"),  # its thresholds are low
        (("--neuron", "synaptic", "--learn-alpha", "--learn-beta"), "dead layers: lif4"),
        (("--residual", "conv2"), "Health: saturated layers: lif2"),
    ],
)
def test_an_interrupted_run_resumes_bit_for_bit_and_csnn_jax_loads_it(neurons, health, dataset, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    recipe = ("--init", "torch", "--surrogate", "fast_sigmoid", "--lr", 0.03)
    flags = (*STACK, *neurons, "--dataset", dataset, *recipe, *OPTIMIZATION, "--device", "cpu")
    done = run(MODULE, *flags, "--out", whole, **ONE_THREAD)
    assert done.returncode == 0, done.stderr
    assert health in done.stdout
    assert "snnTorch" in done.stdout and "cpu (1 threads)" in done.stdout
    losses = [r["loss"] for r in records(whole, "train")]
    assert len(losses) == 10 and len(set(losses)) > 2

    process = start(MODULE, *flags, "--out", broken, **ONE_THREAD)
    for line in process.stdout:
        if line.startswith("Iter 0"):
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    refused("csnn_jax.train", "--out", broken, "--resume", names=(broken / "checkpoints", "state.safetensors"))
    assert run(MODULE, "--out", broken, "--resume", **ONE_THREAD).returncode == 0
    assert [r["loss"] for r in records(broken, "train")] == losses
    assert records(broken, "health") == records(whole, "health")
    assert (broken / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()

    assert evaluate.main([str(whole)]) == 0
    (end,), evaluated = records(whole, "end"), json.loads((whole / "evaluation.json").read_text())
    assert evaluated["images"] == 64 and evaluated["accuracy"] == end["accuracy"]


def test_without_torch_the_command_says_which_extra_to_install(tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run(MODULE, env=ENVIRONMENT | {"PYTHONPATH": path}, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: csnn_torch needs torch ")
    assert line.endswith("expected `pip install 'csnn-jax[torch]'`")
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("torch.py", "__pycache__")] == []


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("convert", ["net.pt", "--out", "run"]), ("compare", ["nope"]), ("first_difference", ["a.nir", "b.nir"])],
)
def test_other_commands_say_it_too(command, arguments, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    refused(f"csnn_torch.{command}", *arguments, names=("torch", "csnn-jax[torch]"), cwd=tmp_path)
