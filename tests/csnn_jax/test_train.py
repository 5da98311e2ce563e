"""`python -m csnn_jax.train` end to end, on real MNIST."""

import json
import os
import platform
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import safetensors.numpy
from commands import ENVIRONMENT, SMALL, call, refused, refused_by_process, run, start
from PIL import Image
from tfds_files import prepare_frames

MODULE = "csnn_jax.train"
BRIEF = ("--conv-channels", 4, "--hidden", 16, "--time-steps", 5, "--batch-size", 32)
"""A stack and a batch for the fixture `dataset`, of which 10 iterations are an epoch."""


def records(path, kind):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.parametrize("name, best", [("small_run", 0.8), ("scan_run", 0.5)])
def test_a_short_run_learns(name, best, request):
    out = request.getfixturevalue(name)
    (end,) = records(out, "end")
    assert end["accuracy"] > best and not end["interrupted"]
    assert f"Final Test Accuracy: {end['accuracy']:.2%}" in (out.parent / "printed").read_text().splitlines()


def test_prints_the_accuracy_every_so_many_iterations(small_run):
    printed = (small_run.parent / "printed").read_text()
    found = re.findall(r"^Iter (\d+), Test Acc: (\d+\.\d\d)%$", printed, re.M)
    assert [int(i) for i, _ in found] == [0, 50, 100]
    assert [float(a) for _, a in found] == [round(100 * r["accuracy"], 2) for r in records(small_run, "test")]


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


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(dataset, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        flags = ("--dataset", dataset, "--max-iters", 3, "--eval-every", 0, "--seed", seed)
        done = run(MODULE, *BRIEF, *flags, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    a, b, c = ((tmp_path / name / "weights.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed: {process.stderr.read()}")


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_learnt_and_resume_goes_on_as_if_nothing_had_been(dataset, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    flags = (*SMALL, "--dataset", dataset, "--batch-size", 32, "--epochs", 6, "--eval-every", 20)
    assert run(MODULE, *flags, "--out", whole).returncode == 0
    process = start(MODULE, *flags, "--out", broken)
    wait_for(process, "Iter 20")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err == "" and "Interrupted after" in out and f"Go on: add --resume --out {broken} " in out
    done = records(broken, "end")[-1]["iter"]
    assert 20 < done < 60
    safetensors.numpy.load_file(broken / "weights.safetensors")
    assert (broken / "accuracy.png").exists()

    assert "unfinished" in refused(MODULE, *flags, "--out", broken)
    other = refused(MODULE, "--out", broken, "--resume", "--lr", "0.5")
    assert other.startswith(f"error: --lr: {broken} was started with 0.005, not 0.5")
    resumed = run(MODULE, "--out", broken, "--resume")  # with the flags that it was started with
    assert resumed.returncode == 0, resumed.stderr
    assert f"resumed after {done} iterations" in resumed.stdout
    assert (broken / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    for kind, values in (("train", ("loss", "density", "gradient")), ("test", ("dead", "membranes")), ("health", ())):
        one, other = records(broken, kind), records(whole, kind)
        assert [[r[v] for v in values or r] for r in one] == [[r[v] for v in values or r] for r in other]
    assert [r["iter"] for r in records(broken, "train")] == list(range(60))


@pytest.mark.parametrize(
    "number, module",
    [
        pytest.param(signal.SIGTERM, MODULE, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, MODULE, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, "csnn_torch.train", marks=[pytest.mark.slow, pytest.mark.rare]),
    ],
)
def test_a_signal_in_the_middle_of_an_evaluation_writes_a_checkpoint(number, module, tmp_path):
    """The evaluation is made up for: the records are those of an uninterrupted run."""
    out = tmp_path / "run"
    stack = ("--conv-channels", 2, "--hidden", 4, "--time-steps", 5, "--validation", 20000)
    process = start(module, *stack, "--max-iters", 2, "--eval-every", 5, "--out", out)
    wait_for(process, "Run directory")
    deadline = time.monotonic() + 120
    while not ((out / "metrics.jsonl").exists() and records(out, "train")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    printed, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (128 + number, "")
    assert "Interrupted after 1 iterations" in printed and "Validation Acc" not in printed
    assert records(out, "end")[-1]["interrupted"] and not records(out, "validation")
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["1"]
    resumed = run(module, "--resume", "--out", out)
    assert resumed.returncode == 0 and "resumed after 1 iterations" in resumed.stdout, resumed
    kinds = [
        (record["kind"], record["iter"]) for record in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    ]
    assert kinds == [("train", 0), ("validation", 0), ("train", 1), ("end", 2)]


@pytest.mark.slow
def test_checkpoints_are_written_without_evaluations(dataset, tmp_path):
    out = tmp_path / "run"
    flags = ("--eval-every", 0, "--checkpoint-every", 3, "--keep-checkpoints", 2, "--max-iters", 7, "--out", out)
    assert call(MODULE, *BRIEF, "--dataset", dataset, *flags).returncode == 0
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["6", "7"]
    damaged = out / "checkpoints" / "7" / "weights.safetensors"
    expected = damaged.read_bytes()
    damaged.write_bytes(expected[:-1] + bytes([expected[-1] ^ 1]))
    resumed = call(MODULE, "--resume", "--keep-checkpoints", 1, "--out", out)
    assert resumed.returncode == 0, resumed.stderr
    first, *rest = resumed.stdout.splitlines()
    assert first.startswith(f"Checkpoint: {damaged}: expected") and first.endswith("the one of 6 iterations is taken")
    assert f"Run directory: {out}, resumed after 6 iterations" in rest
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["7"]
    assert (out / "weights.safetensors").read_bytes() == damaged.read_bytes() == expected


@pytest.mark.slow
def test_a_cosine_job_goes_on_as_if_nothing_had_been_and_keeps_its_length(dataset, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    schedule = ("--optimizer", "adamw", "--schedule", "cosine", "--warmup", 20)
    job = (*BRIEF, "--dataset", dataset, "--epochs", 4, "--max-iters", 40)
    flags = (*job, *schedule, "--clip-norm", 0.1, "--label-smoothing", 0.1, "--eval-every", 20)
    assert run(MODULE, *flags, "--out", whole).returncode == 0
    process = start(MODULE, *flags, "--out", broken)
    wait_for(process, "Iter 20, ")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    before = {path: path.read_bytes() for path in broken.rglob("*") if path.is_file()}
    line = refused(MODULE, "--out", broken, "--resume", "--max-iters", 50)
    assert "started with 40, not 50; --resume can only change --checkpoint-every and --keep-checkpoints, for" in line
    assert {path: path.read_bytes() for path in broken.rglob("*") if path.is_file()} == before
    resumed = run(MODULE, "--out", broken, "--resume")
    assert resumed.returncode == 0 and "resumed after 2" in resumed.stdout, resumed
    assert (broken / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert [r["loss"] for r in records(broken, "train")] == [r["loss"] for r in records(whole, "train")]


@pytest.mark.slow
def test_a_rate_target_is_come_to_on_the_scan_engine(tmp_path):
    out = tmp_path / "run"
    small = ("--conv-channels", 4, "--hidden", 32, "--time-steps", 6, "--eval-every", 0)  # else lif2 comes to 0.39
    done = run(MODULE, *small, "--rate-target", 0.1, "--rate-weight", 100, "--max-iters", 100, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "Runs on: JAX" in done.stdout and "scan engine (--rate-target needs the gradient" in done.stdout
    *hidden, _ = records(out, "end")[0]["density"].values()
    assert all(0.07 < density < 0.13 for density in hidden)


@pytest.mark.slow
def test_nobody_reads_the_output(dataset, tmp_path):
    job = (*BRIEF, "--dataset", dataset, "--eval-every", 0, "--epochs", 30)
    process = start(MODULE, *job, "--out", tmp_path / "run")
    wait_for(process, "Initial weights")  # the last line before the first iteration
    process.stdout.close()
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (141, "")
    done = records(tmp_path / "run", "train")[-1]["iter"] + 1
    assert 0 < done < 300
    safetensors.numpy.load_file(tmp_path / "run" / "weights.safetensors")
    resumed = run(MODULE, "--out", tmp_path / "run", "--resume")
    assert resumed.returncode == 0 and f"resumed after {done} iterations" in resumed.stdout


def test_ctrl_c_before_the_first_iteration(dataset, tmp_path):
    process = start(MODULE, *BRIEF, "--dataset", dataset, "--out", tmp_path / "run")
    wait_for(process, "Run directory")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in err


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


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_pictures_gets_them(small_run, tmp_path):
    out = small_run
    copy = shutil.copytree(out, tmp_path / "run")
    records = (copy / "metrics.jsonl").read_bytes()
    for name in ("accuracy.png", "spikes.png"):
        (copy / name).unlink()
        done = run(MODULE, "--resume", "--out", copy)
        assert done.returncode == 0, done.stderr
        assert (copy / name).read_bytes() == (out / name).read_bytes()
    assert (copy / "metrics.jsonl").read_bytes() == records
    assert "is finished" in refused(MODULE, "--resume", "--out", copy)


def test_only_epochs_and_iterations_may_change_on_resuming(small_run, tmp_path):
    copy = shutil.copytree(small_run, tmp_path / "run")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    line = refused(MODULE, "--resume", "--out", copy, "--lr", 0.5)
    assert "--lr: " in line and "was started with 0.005, not 0.5; --resume can only change" in line
    assert "has done 150 iterations already" in refused(MODULE, "--resume", "--out", copy, "--max-iters", 100)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_run_that_is_being_trained_is_left_alone(dataset, tmp_path):
    out = tmp_path / "run"
    process = start(MODULE, *BRIEF, "--dataset", dataset, "--epochs", 1000, "--eval-every", 2, "--out", out)
    try:
        wait_for(process, "Iter 0, Test Acc")
        for flags in (("--resume", "--out", out), (*SMALL, "--overwrite", "--out", out), (*SMALL, "--out", out)):
            line = refused(MODULE, *flags)
            assert f"--out {out}: another process ({process.pid} on {platform.node()}) is training it" in line
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


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
    assert len(records(out, "validation")) == 2 and not records(out, "test")


@pytest.mark.parametrize(
    "flags",
    [
        ("--reset", "zero", "--pool", "avg", "--learn-beta", "--learn-threshold", "--beta", "0.9"),
        pytest.param(("--encoding", "rate", "--beta", "0.5", "0.6", "0.7", "0.8"), marks=pytest.mark.slow),
        pytest.param(
            ("--encoding", "latency", "--reset", "none", "--surrogate", "atan", "--slope", "4"), marks=pytest.mark.slow
        ),
        pytest.param(("--dtype", "float64", "--hidden", "32", "16"), marks=pytest.mark.slow),
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
    assert "iteration 0: the loss or a gradient is not finite" in line and "--lr" in line
    kept = safetensors.numpy.load_file(out / "weights.safetensors")
    assert all(np.isfinite(t).all() for t in kept.values())
    assert np.abs(kept["conv1.weight"]).max() <= 1 / 3  # the initial weights


def on_a_full_disk(size: int, *arguments: object) -> subprocess.CompletedProcess:
    """Training where no file may exceed a size."""
    program = (
        f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})); "
        f"runpy.run_module({MODULE!r}, run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=ENVIRONMENT | {"JAX_COMPILATION_CACHE_DIR": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done
    return done


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_background_keeps_the_checkpoint_before(dataset, tmp_path):
    """The weights still fit, the training state does not."""
    out = tmp_path / "run"
    job = (*SMALL, "--dataset", dataset, "--batch-size", 32, "--epochs", 10, "--max-iters", 2, "--eval-every", 0)
    assert run(MODULE, *job, "--out", out).returncode == 0
    kept = {path: path.read_bytes() for path in (out / "checkpoints").rglob("*") if path.is_file()}
    done = on_a_full_disk(500_000, "--resume", "--max-iters", 100, "--checkpoint-every", 1, "--out", out)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {out / 'checkpoints' / '3' / 'state.safetensors'}: can't be written: File too")
    assert 3 <= records(out, "train")[-1]["iter"] + 1 < 100
    assert {path: path.read_bytes() for path in (out / "checkpoints").rglob("*") if path.is_file()} == kept
    resumed = run(MODULE, "--resume", "--max-iters", 4, "--out", out)
    assert resumed.returncode == 0 and "resumed after 2 iterations" in resumed.stdout, resumed
    assert [record["iter"] for record in records(out, "train")] == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_file(dataset, tmp_path):
    """With a limit on the size of a file, which the weights exceed and the configuration does not."""
    out = tmp_path / "run"
    job = (*SMALL, "--dataset", dataset, "--batch-size", 32, "--max-iters", 1, "--eval-every", 0)
    done = on_a_full_disk(20_000, *job, "--out", out)
    assert done.stderr.splitlines()[-1].startswith(f"error: {out / 'weights.safetensors'}: can't be written:")
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in out.iterdir()) == ["config.json", "metrics.jsonl"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--beta", "1.5"), "--beta 1.5: expected a number from 0 to 1"),
        (("--time-steps", "0"), "--time-steps 0: expected a whole number of at least 1"),
        (("--batch-size", "60001"), "--batch-size 60001: expected 1 to 60000"),
        (("--dataset", "minst"), "did you mean 'mnist'?"),
        (("--dataset", "idx:/nowhere"), "/nowhere"),
        (("--num-classes", "5"), "--num-classes 5: mnist has labels up to 9, expected at least 10"),
        (("--resume",), "--resume: expected --out"),
        (("--kernel-size", "4"), "--kernel-size 4: expected an odd whole number"),
        (("--warmup", "469"), "--warmup 469: the job has 468 iterations, expected at most as many"),
        (("--momentum", "0.9"), "--momentum 0.9: expected --optimizer sgd"),
        (("--rate-weight", "2"), "--rate-weight 2.0: expected a --rate-target beside it"),
        (("--rate-target", "0.1", "--engine", "event"), "--engine event: --rate-target needs the gradient"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_flags_are_refused_in_one_line(flags, message, tmp_path):
    assert message in refused(MODULE, *flags, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_help_gives_meaning_and_default_of_every_flag():
    done = call(MODULE, "--help")
    assert done.returncode == 0
    for flag in ("--beta", "--time-steps", "--surrogate", "--dataset", "--validation", "--dtype", "--eval-every"):
        assert flag in done.stdout
    assert "(default: 0.5)" in done.stdout


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


@pytest.mark.slow
@pytest.mark.parametrize("moments", [3, pytest.param(12, marks=pytest.mark.rare)])
def test_a_second_ctrl_c_ends_it_at_once_whenever_it_comes(moments, dataset, tmp_path):
    """Two, at random moments of a job that writes a checkpoint every other iteration."""
    rng = np.random.default_rng(0)
    for number in range(moments):
        job = (*BRIEF, "--dataset", dataset, "--eval-every", 2, "--epochs", 10000)
        flags = (*job, "--out", tmp_path / str(number))
        process = start(MODULE, *flags)
        wait_for(process, "Iter 0, Test Acc")
        time.sleep(rng.uniform(0, 1))
        process.send_signal(signal.SIGINT)
        time.sleep(rng.choice([0, 0.01, rng.uniform(0, 0.3)]))
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) in [(130, "interrupted\n"), (130, "")], err
        assert time.monotonic() - began < 20  # a process without end was the fault


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


@pytest.mark.slow
def test_ctrl_c_while_the_pictures_are_drawn_advises_no_resume(dataset, tmp_path):
    out = tmp_path / "run"
    process = start(MODULE, *BRIEF, "--dataset", dataset, "--max-iters", 4, "--out", out)
    said = []
    while not said or "Final Test Accuracy" not in said[-1]:
        said.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    rest, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "")
    assert rest == f"Interrupted when all was done; the run in {out} is finished\n"
