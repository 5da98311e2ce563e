import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bundles
import numpy as np
import pytest
from commands import ENVIRONMENT, passed_by_process, start
from trainings import BRIEF, records

EVENT = "adamw, cosine, augmented, event"
JOBS = {
    EVENT: (
        *("--optimizer", "adamw", "--schedule", "cosine", "--warmup", 10, "--augment", 2, 10, 0.1),
        *("--engine", "event"),
    ),
    "sgd, rate, micro-batches, scan": (
        *("--optimizer", "sgd", "--momentum", 0.9, "--lr", 0.5, "--encoding", "rate", "--engine", "scan"),
        *("--validation", 1000, "--microbatch", 8),
    ),
}
SMALL = (*BRIEF, "--surrogate", "atan")
FEW = ("--max-iters", 90, "--eval-every", 40, "--checkpoint-every", 1)
MANY = ("--max-iters", 300, *FEW[2:])


def remembered(folder: Path) -> tuple[bytes, bytes, list[dict]]:
    """Weights, training state, and metrics without times."""
    newest = folder / "checkpoints" / str(reached(folder)) / "state.safetensors"
    timeless = [{k: v for k, v in one.items() if k not in ("seconds", "images_per_s")} for one in records(folder)]
    return (folder / "weights.safetensors").read_bytes(), newest.read_bytes(), timeless


def half_written(folder: Path) -> bool:
    return any((folder / "checkpoints").glob(".*"))


def reached(folder: Path) -> int:
    """The newest complete checkpoint."""
    return max((int(path.name) for path in (folder / "checkpoints").glob("[0-9]*")), default=0)


def wait_until(process, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()


def stop_within_a_checkpoint(process, folder: Path) -> None:
    """Stops the process while a checkpoint is half written: it could be complete by the time a signal arrives."""
    while True:
        wait_until(process, lambda: half_written(folder))
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if half_written(folder):
            return
        process.send_signal(signal.SIGCONT)


def kill(process, folder: Path, rng: np.random.Generator, number: int) -> bool:
    """Kills it at a random moment within the next 25 iterations; returns whether a checkpoint was half written."""
    before = reached(folder)
    for line in process.stdout:
        if line.startswith("Run directory"):
            break
    if number in (0, 5):
        time.sleep(rng.uniform(0, 1))
    else:
        further = rng.integers(1, 25)
        wait_until(process, lambda: reached(folder) >= before + further)
        time.sleep(rng.uniform(0, 0.05))
        if number % 3:
            stop_within_a_checkpoint(process, folder)
    process.kill()
    process.communicate()
    return half_written(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "job, kills, length",
    [(JOBS[EVENT], 3, FEW), *(pytest.param(job, 10, MANY, marks=pytest.mark.rare) for job in JOBS.values())],
    ids=["3", *JOBS],
)
def test_a_run_killed_several_times_equals_an_uninterrupted_one(job, kills, length, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    flags: tuple = (*SMALL, *length, *job)
    passed_by_process("csnn_jax.train", *flags, "--out", whole)
    rng = np.random.default_rng(0)
    torn, at = 0, []
    for number in range(kills):
        torn += kill(start("csnn_jax.train", *flags, "--out", broken), broken, rng, number)
        at.append(reached(broken))
        flags = ("--resume",) if at[-1] else (*SMALL, *length, *job, "--overwrite")
    print(f"killed after {at}, {torn} of {kills} times in the middle of a checkpoint")
    assert torn >= 1 and 0 < at[-1] < length[1]
    resumed = passed_by_process("csnn_jax.train", "--resume", "--out", broken)
    assert f"resumed after {at[-1]} iterations" in resumed and not half_written(broken)
    assert remembered(broken) == remembered(whole)


TINY_RUN = (*SMALL, "--max-iters", 12, "--eval-every", 5, "--eval-images", 64)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command, count",
    [
        ("train", 5),
        pytest.param("train", 200, marks=pytest.mark.rare),
        pytest.param("report", 50, marks=pytest.mark.rare),
        pytest.param("demo", 30, marks=pytest.mark.rare),
    ],
)
def test_signals_at_random_moments_leave_nothing_behind(command, count, small_run, dataset, tmp_path):
    """Runs `interrupted.py`, which calls the first module."""
    words = {
        "train": ("csnn_jax.train,csnn_jax.update.trainer", *TINY_RUN, "--dataset", dataset),
        "report": ("csnn_jax.report.__main__,csnn_jax.report.contents", small_run),
        "demo": ("export.demo.__main__", tmp_path / "bundle"),
    }[command]
    if command == "demo":
        bundles.make_bundle(tmp_path, bundles.SMALL)
    script = Path(__file__).parent / "helpers" / "interrupted.py"
    flags = map(str, (script, count, 0, tmp_path, *words, "--out", tmp_path / "out" / "it"))
    done = subprocess.run([sys.executable, *flags], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["left"] == [] and sum(report["codes"].values()) == count, report
