import platform
import shutil
import signal
import time

import numpy as np
import pytest
import safetensors.numpy
from commands import SMALL, call, passed, passed_by_process, start
from refusals import assert_refused, refused
from trainings import BRIEF, records

MODULE = "csnn_jax.train"


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed: {process.stderr.read()}")


@pytest.mark.slow
def test_resuming_after_ctrl_c_gives_the_same_run_as_without_it(dataset, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    learning = ("--optimizer", "adamw", "--schedule", "cosine", "--warmup", 20, "--ema", 0.9, "--dropout", 0.2)
    loss = ("--loss", "ce_membrane", "--readout", "membrane", "--label-smoothing", 0.1, "--clip-norm", 0.1)
    job = ("--dataset", dataset, "--batch-size", 32, "--epochs", 6, "--eval-every", 20)
    flags = (*SMALL, *job, *learning, *loss)
    passed_by_process(MODULE, *flags, "--out", whole)
    process = start(MODULE, *flags, "--out", broken)
    wait_for(process, "Iter 20")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err == "" and "Interrupted after" in out and "To continue, add --resume to the same command" in out
    done = records(broken, "end")[-1]["iter"]
    assert 20 <= done < 60
    safetensors.numpy.load_file(broken / "weights.safetensors")
    assert (broken / "accuracy.png").exists()

    refused(MODULE, *flags, "--out", broken, names=(broken, "unfinished"))
    refused(MODULE, "--out", broken, "--resume", "--lr", "0.5", names=("--lr", broken, 0.005, 0.5))
    resumed = passed_by_process(MODULE, "--out", broken, "--resume")  # with its original flags
    assert f"resumed after {done} iterations" in resumed
    assert (broken / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    for kind, values in (("train", ("loss", "density", "gradient")), ("test", ("dead", "membranes")), ("health", ())):
        one, other = records(broken, kind), records(whole, kind)
        assert [[r[v] for v in values or r] for r in one] == [[r[v] for v in values or r] for r in other]
    assert [r["iter"] for r in records(broken, "train")] == list(range(1, 61))


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, module",
    [
        (signal.SIGTERM, MODULE),
        pytest.param(signal.SIGHUP, MODULE, marks=pytest.mark.rare),
        pytest.param(signal.SIGHUP, "csnn_torch.train", marks=pytest.mark.rare),
    ],
)
def test_a_signal_in_the_middle_of_an_evaluation_writes_a_checkpoint(number, module, tmp_path):
    """The evaluation is repeated, so the records equal those of an uninterrupted run."""
    out = tmp_path / "run"
    stack = ("--conv-channels", 2, "--hidden", 4, "--time-steps", 5, "--validation", 20000)
    process = start(module, *stack, "--max-iters", 2, "--eval-every", 1, "--out", out)
    wait_for(process, "Iter 0, Validation Acc")
    deadline = time.monotonic() + 120
    while not ((out / "metrics.jsonl").exists() and records(out, "train")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    printed, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (128 + number, "")
    assert "Interrupted after 1 iteration;" in printed and "Validation Acc" not in printed
    assert records(out, "end")[-1]["interrupted"] and [r["iter"] for r in records(out, "validation")] == [0]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["0", "1"]
    assert "resumed after 1 iteration\n" in passed_by_process(module, "--resume", "--out", out)
    kinds = [(record["kind"], record["iter"]) for record in records(out)]
    before = [("validation", 0), ("train", 1), ("validation", 1)]
    assert kinds == [*before, ("train", 2), ("validation", 2), ("end", 2)]


@pytest.mark.slow
@pytest.mark.rare
def test_a_closed_output_stops_the_run_with_a_checkpoint(dataset, tmp_path):
    job = (*BRIEF, "--dataset", dataset, "--eval-every", 0, "--epochs", 30)
    process = start(MODULE, *job, "--out", tmp_path / "run")
    wait_for(process, "Initial weights")  # the last line before the first iteration
    process.stdout.close()
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (141, "")
    done = records(tmp_path / "run", "train")[-1]["iter"]
    assert 0 < done < 300
    safetensors.numpy.load_file(tmp_path / "run" / "weights.safetensors")
    assert f"resumed after {done} iterations" in passed_by_process(MODULE, "--out", tmp_path / "run", "--resume")


@pytest.mark.slow
def test_ctrl_c_before_the_first_iteration(dataset, tmp_path):
    process = start(MODULE, *BRIEF, "--dataset", dataset, "--out", tmp_path / "run")
    wait_for(process, "Run directory")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in err


@pytest.mark.slow
def test_resuming_draws_missing_pictures(small_run, tmp_path):
    copy = shutil.copytree(small_run, tmp_path / "run")
    before = (copy / "metrics.jsonl").read_bytes()
    for name in ("accuracy.png", "spikes.png"):
        (copy / name).unlink()
        passed(MODULE, "--resume", "--out", copy)  # in this process, where `small_run` drew its pictures
        assert (copy / name).read_bytes() == (small_run / name).read_bytes()
    assert (copy / "metrics.jsonl").read_bytes() == before
    refused(MODULE, "--resume", "--out", copy, names=(copy, "finished"))


@pytest.mark.slow
def test_a_run_that_is_being_trained_is_left_alone(dataset, tmp_path):
    out = tmp_path / "run"
    process = start(MODULE, *BRIEF, "--dataset", dataset, "--epochs", 1000, "--eval-every", 2, "--out", out)
    try:
        wait_for(process, "Iter 0, Test Acc")
        for flags in (("--resume", "--out", out), (*SMALL, "--overwrite", "--out", out), (*SMALL, "--out", out)):
            assert_refused(call(MODULE, *flags), f"--out {out}", process.pid, platform.node())
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.rare
def test_a_second_ctrl_c_ends_the_run_at_once_at_any_moment(dataset, tmp_path):
    """Sends two at random moments to a job that writes a checkpoint every other iteration."""
    rng = np.random.default_rng(0)
    for number in range(12):
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
        assert time.monotonic() - began < 20  # the process used to hang


@pytest.mark.slow
@pytest.mark.rare
def test_ctrl_c_while_drawing_pictures_does_not_suggest_resuming(dataset, tmp_path):
    out = tmp_path / "run"
    process = start(MODULE, *BRIEF, "--dataset", dataset, "--max-iters", 4, "--out", out)
    said = []
    while not said or "Final Test Accuracy" not in said[-1]:
        said.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    rest, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "")
    assert rest == f"Interrupted, but the run in {out} was already finished\n"
