"""`python -m csnn_jax.train` end to end, on real MNIST."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import safetensors.numpy
from commands import ENVIRONMENT, SMALL, call, refused, refused_by_process, run
from PIL import Image
from tfds_files import prepare_frames
from trainings import BRIEF, records

MODULE = "csnn_jax.train"


@pytest.mark.parametrize("name, best", [("small_run", 0.8), ("scan_run", 0.5)])
def test_a_short_run_learns(name, best, request):
    out = request.getfixturevalue(name)
    (end,) = records(out, "end")
    assert end["accuracy"] > best and not end["interrupted"]
    printed = (out.parent / "printed").read_text()
    assert f"Final Test Accuracy: {end['accuracy']:.2%}" in printed.splitlines()
    lines = [f"Iter {record['iter']}, Test Acc: {record['accuracy']:.2%}" for record in records(out, "test")]
    assert [line for line in printed.splitlines() if "Test Acc" in line and line.startswith("Iter")] == lines


def test_metrics_hold_every_loss_and_the_density_of_every_layer(small_run):
    out = small_run
    losses = [r["loss"] for r in records(out, "train")]
    assert len(losses) == 150 and np.mean(losses[-20:]) < np.mean(losses[:20]) < np.log(10) + 1e-5
    for record in records(out, "test"):
        assert list(record["density"]) == ["lif1", "lif2", "lif3", "lif4"]
    assert all(0.01 < density < 0.6 for density in records(out, "test")[-1]["density"].values())


def test_the_files_of_the_run_can_be_read_by_others(small_run):
    out = small_run
    tensors = safetensors.numpy.load_file(out / "weights.safetensors")
    assert {name: t.shape for name, t in tensors.items()} == {
        "conv1.weight": (8, 1, 3, 3),
        "conv1.bias": (8,),
        "conv2.weight": (16, 8, 3, 3),
        "conv2.bias": (16,),
        "fc1.weight": (64, 784),
        "fc1.bias": (64,),
        "fc2.weight": (10, 64),
        "fc2.bias": (10,),
    }
    config = json.loads((out / "config.json").read_text())
    assert config["model"]["conv_channels"] == [8, 16] and config["train"]["max_iters"] == 150
    for name in ("accuracy.png", "spikes.png"):
        with Image.open(out / name) as picture:
            pixels = np.asarray(picture.convert("L"))
        assert min(pixels.shape) > 300 and pixels.std() > 10


def test_a_finished_run_is_not_replaced_unless_asked(small_run, dataset, tmp_path):
    out = shutil.copytree(small_run, tmp_path / "run")
    flags = (*BRIEF, "--dataset", dataset, "--max-iters", 1, "--eval-every", 0, "--out", out)
    before = (out / "weights.safetensors").read_bytes()
    (out / "notes.txt").write_text("mine")
    assert f"{out}: holds a finished run" in refused_by_process(MODULE, *flags)
    assert (out / "weights.safetensors").read_bytes() == before
    assert call(MODULE, *flags, "--overwrite").returncode == 0
    assert (out / "weights.safetensors").read_bytes() != before
    assert (out / "notes.txt").read_text() == "mine"


def test_a_thread_may_train_and_without_out_its_run_gets_a_directory_of_its_own(dataset, tmp_path):
    codes = []

    def train() -> None:
        flags = (*BRIEF, "--dataset", dataset, "--max-iters", 2, "--eval-every", 0)
        codes.append(call(MODULE, *flags, cwd=tmp_path).returncode)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert codes == [0]
    (made,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", made.name)


@pytest.mark.slow
def test_validation_images_stand_in_for_the_test_images_until_the_end(tmp_path):
    out = tmp_path / "run"
    flags = ("--validation", 59000, "--max-iters", 2, "--eval-every", 1, "--batch-size", 50)
    done = call(MODULE, *SMALL, *flags, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "1000 training, 59000 held out" in done.stdout and "Iter 1, Validation Acc:" in done.stdout
    assert [r["iter"] for r in records(out, "validation")] == [0, 1, 2] and not records(out, "test")


@pytest.mark.parametrize(
    "flags",
    [
        ("--reset", "zero", "--pool", "avg", "--learn-beta", "--learn-threshold", "--beta", "0.9"),
        pytest.param(
            ("--encoding", "latency", "--reset", "none", "--surrogate", "atan", "--slope", "4"), marks=pytest.mark.slow
        ),
        pytest.param(
            ("--conv-channels", "4", "--kernel-size", "5", "--hidden", "--input-shape", "14", "16", "3"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda flags: " ".join(flags),
)
def test_other_networks_train_and_evaluate(flags, dataset, tmp_path):
    small = ("--conv-channels", 4, 6, "--hidden", 16, "--time-steps", 5, "--dataset", dataset, "--batch-size", 32)
    done = call(MODULE, *small, "--max-iters", 2, "--eval-every", 0, "--out", tmp_path / "run", *flags)
    assert done.returncode == 0, done.stderr
    done = call("csnn_jax.evaluate", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    final = records(tmp_path / "run", "end")[0]["accuracy"]
    assert f"Test Accuracy: {final:.2%}" in done.stdout


def test_weights_that_blow_up_stop_the_run_and_the_last_good_ones_are_kept(dataset, tmp_path):
    out = tmp_path / "run"
    flags = (*BRIEF, "--dataset", dataset, "--init", "torch", "--max-iters", 20, "--eval-every", 0, "--out", out)
    flags += ("--surrogate", "spike_rate_escape", "--slope", "1e38")
    line = refused(MODULE, *flags)
    assert "iteration 1: the loss or a gradient is not finite" in line and "--lr" in line
    kept = safetensors.numpy.load_file(out / "weights.safetensors")
    assert all(np.isfinite(t).all() for t in kept.values())
    assert np.abs(kept["conv1.weight"]).max() <= 1 / 3  # the initial weights


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--beta", "1.5"), "--beta 1.5: expected a number from 0 to 1"),
        (("--batch-size", "60001"), "--batch-size 60001: expected 1 to 60000"),
        (("--dataset", "minst"), "did you mean 'mnist'?"),
        (("--dataset", "idx:/nowhere"), "/nowhere"),
        (("--num-classes", "5"), "--num-classes 5: mnist has labels up to 9, expected at least 10"),
        (("--resume",), "--resume: expected --out"),
        (("--warmup", "469"), "--warmup 469: the job has 468 iterations, expected at most as many"),
        (("--rate-target", "0.1", "--engine", "event"), "--engine event: --rate-target needs the gradient"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_flags_are_refused_in_one_line(flags, message, tmp_path):
    assert message in refused(MODULE, *flags, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_terminal_gets_a_live_bar(dataset, tmp_path):
    leader, follower = pty.openpty()
    job = (*BRIEF, "--dataset", dataset, "--max-iters", 5, "--eval-every", 0, "--out", tmp_path / "run")
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE, *map(str, job)],
        stdout=follower,
        stderr=follower,
        env=ENVIRONMENT | {"TERM": "xterm"},
    )
    os.close(follower)
    shown, deadline = b"", time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([leader], [], [], 1)[0]:
            try:
                shown += os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "5/5" in text and "images/s" in text and "loss" in text and "Final Test Accuracy" in text


@pytest.mark.slow
def test_event_frames_enter_as_they_are_and_set_the_steps(tmp_path):
    """Bars that move in four directions, as bytes of 0 and 1 with a time axis."""
    rng = np.random.default_rng(0)
    frames, labels = np.zeros((64, 6, 8, 8, 2), np.uint8), np.arange(64) % 4
    for sample, label in zip(frames, labels, strict=True):
        for step in range(6):
            at = (step + rng.integers(8)) % 8
            sample[step, at if label < 2 else slice(None), slice(None) if label < 2 else at, label % 2] = 1
    name = prepare_frames(tmp_path, frames, labels)
    stack = ("--input-shape", 8, 8, 2, "--conv-channels", 8, "--hidden", 16, "--surrogate", "atan")
    out = tmp_path / "run"
    done = run(MODULE, "--dataset", name, *stack, "--batch-size", 16, "--epochs", 30, "--eval-every", 0, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "values of 0 and 1 enter as they are (scale 1)" in done.stdout
    assert "Data: 6 frames an example, one at each time step" in done.stdout
    config = json.loads((out / "config.json").read_text())["model"]
    assert (config["scale"], config["time_steps"], config["num_classes"]) == (1.0, 6, 4)
    (end,) = records(out, "end")
    assert end["accuracy"] > 0.9 and all(density > 0.005 for density in end["density"].values())
    assert run("csnn_jax.evaluate", out).stdout.startswith(f"Test Accuracy: {end['accuracy']:.2%}")
    refused_out = tmp_path / "refused"
    line = refused(MODULE, "--dataset", name, *stack, "--encoding", "rate", "--out", refused_out)
    assert "has a time axis already" in line and not refused_out.exists()


def test_a_short_job_is_evaluated_on_the_first_images(dataset, tmp_path):
    flags = (*BRIEF, "--dataset", dataset, "--eval-every", 2, "--eval-images", 16, "--out", tmp_path / "run")
    done = call("csnn_jax.train", *flags, "--max-iters", 3)
    assert done.returncode == 0, done.stderr
    assert "accuracy is measured on the first 16 images (--eval-images)" in done.stdout
    assert done.stdout.count("% (of 16 images)\n") == 3
    done = call("csnn_jax.train", "--resume", "--max-iters", 5, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    shares = [record["accuracy"] for record in records if "accuracy" in record]
    assert len(shares) == 4 and all(16 * share == int(16 * share) for share in shares)
    assert "was started with 16, not 17" in refused("csnn_jax.train", "--resume", *flags[-2:], "--eval-images", 17)
