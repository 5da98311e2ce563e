"""`python -m csnn_torch.train` and the weights that go both ways, as a user runs them."""

import json
import os
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
from commands import ENVIRONMENT, refused, refused_by_process, run, start

from csnn_jax import data

MODULE = "csnn_torch.train"
STACK = (
    "--conv-channels",
    4,
    8,
    "--hidden",
    16,
    "--time-steps",
    8,
    "--batch-size",
    32,
    "--eval-every",
    4,
    "--threshold",
    0.1,
)
ONE_THREAD = {"env": ENVIRONMENT | {"OMP_NUM_THREADS": "1"}}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """320 training and 64 test images of MNIST as IDX files."""
    folder = tmp_path_factory.mktemp("digits")
    mnist = data.load("mnist", (28, 28, 1))
    for stem, split, count in (("train", mnist.train, 320), ("t10k", mnist.test, 64)):
        images = struct.pack(">4I", 0x803, count, 28, 28) + split.images[:count].tobytes()
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(images)
        labels = split.labels[:count].astype(np.uint8).tobytes()
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels)
    return f"idx:{folder}"


def records(path, kind):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


OPTIMISATION = (
    *("--optimizer", "adamw", "--schedule", "cosine", "--warmup", 3),
    *("--clip-norm", 0.1, "--label-smoothing", 0.1),
)


@pytest.mark.slow
@pytest.mark.parametrize("optimisation", [(), OPTIMISATION], ids=["default", "cosine"])
def test_an_interrupted_run_goes_on_bit_for_bit_and_csnn_jax_takes_it(optimisation, digits, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    recipe = ("--init", "torch", "--surrogate", "fast_sigmoid", "--lr", 0.03)
    flags = (*STACK, "--dataset", digits, *recipe, *optimisation, "--device", "cpu")
    done = run(MODULE, *flags, "--out", whole, **ONE_THREAD)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("Health: ")]
    assert [line[:5] for line in lines] == ["Data:", "Runs ", "Run d", *["Iter "] * 3, "Final"]
    assert "Health: saturated layers: lif2" in done.stdout  # its thresholds are low
    assert "snnTorch" in done.stdout and "cpu (1 threads)" in done.stdout
    files = {"accuracy.png", "checkpoints", "config.json", "metrics.jsonl", "spikes.png", "weights.safetensors"}
    assert {path.name for path in whole.iterdir()} == files
    losses = [r["loss"] for r in records(whole, "train")]
    assert len(losses) == 10 and len(set(losses)) > 2

    process = start(MODULE, *flags, "--out", broken, **ONE_THREAD)
    for line in process.stdout:
        if line.startswith("Iter 0"):
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert run(MODULE, "--out", broken, "--resume", **ONE_THREAD).returncode == 0
    assert [r["loss"] for r in records(broken, "train")] == losses
    assert records(broken, "health") == records(whole, "health")
    assert (broken / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()

    evaluated = run("csnn_jax.evaluate", whole)
    (end,) = records(whole, "end")
    assert evaluated.stdout.startswith(f"Test Accuracy: {end['accuracy']:.2%} (64 images"), evaluated
    longer = refused("csnn_jax.train", *flags[:-2], "--epochs", 2, "--out", whole, "--resume")
    refusal = (
        f"--epochs: {whole} was started with 1"
        if optimisation
        else f"{whole / 'checkpoints' / '10' / 'state.safetensors'}: expected the training state of this network: "
    )
    assert longer.startswith(f"error: {refusal}")


@pytest.mark.slow
def test_both_learn_from_the_same_augmented_images(digits, tmp_path):
    flags = (*STACK, "--dataset", digits, "--max-iters", 3, "--eval-every", 0, "--dtype", "float64")
    first = {}
    for module in (MODULE, "csnn_jax.train"):
        for encoding in ("direct", "rate"):
            for augment in ((), ("--augment", 3, 20, 0.2)):
                out = tmp_path / f"{module} {encoding} {len(augment)}"
                more = ("--encoding", encoding, *augment, "--out", out)
                done = run(module, *flags, *more, **ONE_THREAD)
                assert done.returncode == 0, done.stderr
                first[module, encoding, bool(augment)] = [r["loss"] for r in records(out, "train")]
    for encoding in ("direct", "rate"):
        plain, augmented = ([first[m, encoding, on] for m in (MODULE, "csnn_jax.train")] for on in (False, True))
        np.testing.assert_allclose(augmented[0], augmented[1], rtol=1e-12)
        assert augmented[0] != plain[0] and augmented[1] != plain[1]


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT | environment, timeout=300)


def test_csnn_jax_never_imports_torch(digits, tmp_path):
    flags = ["csnn-train", *map(str, STACK), "--max-iters", "2", "--dataset", digits, "--out", str(tmp_path / "run")]
    code = f"""
import sys
from csnn_jax import evaluate, predict, train
from csnn_jax.training import job
from csnn_jax.learning import learner
assert train.main({flags[1:]!r}) == 0
assert evaluate.main([{flags[-1]!r}]) == 0
print(sorted({{"torch", "snntorch"}} & sys.modules.keys()))
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("module", "arguments"), [(MODULE, ()), ("csnn_torch.convert", ("x", "--out", "y")), ("csnn_torch.compare", ())]
)
def test_without_torch_every_command_says_which_extra_to_install(module, arguments, tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    line = refused_by_process(module, *arguments, env=ENVIRONMENT | {"PYTHONPATH": path}, cwd=tmp_path)
    assert "torch" in line and line.endswith("expected `pip install 'csnn-jax[torch]'`")
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("torch.py", "__pycache__")] == []


def test_csnn_jaxs_engines_are_refused(digits):
    assert "--engine event" in refused(MODULE, *STACK, "--dataset", digits, "--engine", "event")
