"""During long training in one process, neither its memory nor its open files grow."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import OPTIMISED
from digits import few_digits

SETTLED, EVERY = 200, 100
MEMORY = 8 * 10**6
"""Allowed growth in bytes after `SETTLED` iterations. Measured: 3 MB by 2,000, all of it at evaluations, with their
checkpoints and pictures; iterations alone add nothing. One batch of images has 25 kB."""

PROGRAM = """
import ctypes, gc, json, os, sys
from csnn_jax.flags import TrainFlags, parse_train
from csnn_jax.training import job
from csnn_jax.training.prepare import prepare
from csnn_jax.update import trainer

kept = []

class Trainer(trainer.Trainer):
    done = 0

    def step(self, batch, rate):
        kept.append(bytes({kept_bytes}))
        self.done = batch.iteration + 1
        return super().step(batch, rate)

    def snapshot(self):
        found = super().snapshot()
        kept.extend(open(os.devnull) for _ in range({kept_files}))
        gc.collect()  # cyclic garbage, such as figures of matplotlib, would be freed at some other time
        ctypes.CDLL(None).malloc_trim(0)  # returns free memory to the system now
        lines = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
        own = sum(int(lines[name].split()[0]) for name in ("RssAnon", "VmSwap"))  # kB
        print(json.dumps([self.done, own * 1024, len(os.listdir("/proc/self/fd"))]), flush=True)
        return found

sys.exit(job.train(prepare(parse_train(TrainFlags, "soak", "", sys.argv[1:]), Trainer)))
"""
"""Trains, and prints its resources after each evaluation's checkpoint. It can be made to leak."""


class Held(NamedTuple):
    """The resources of a process: bytes of private memory, and open files."""

    memory: int
    files: int


def grown(folder: Path, iterations: int, kept_bytes: int = 0, kept_files: int = 0) -> Held:
    """How much a training run's resources grow from iteration `SETTLED` to its end."""
    small = ("--conv-channels", 4, "--hidden", 16, "--time-steps", 4, "--batch-size", 32, "--augment", 1, 5, 0.1)
    length = ("--epochs", 200, "--max-iters", iterations, "--eval-every", EVERY, "--tensorboard")
    flags = (*small, *length, "--dataset", few_digits(folder), "--out", folder / "run")
    program = PROGRAM.format(kept_bytes=kept_bytes, kept_files=kept_files)
    command = [sys.executable, "-c", program, *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, env=OPTIMISED, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    by_iteration = {iteration: Held(memory, files) for iteration, memory, files in rows}
    first, last = by_iteration[SETTLED], by_iteration[iterations]
    return Held(last.memory - first.memory, last.files - first.files)


@pytest.mark.slow
@pytest.mark.parametrize("iterations", [500, pytest.param(2000, marks=pytest.mark.rare)])
def test_neither_memory_nor_open_files_grow(iterations, tmp_path):
    more = grown(tmp_path, iterations)
    assert more.memory < MEMORY and more.files == 0, more


@pytest.mark.slow
@pytest.mark.rare
def test_a_leaked_batch_per_iteration_and_file_per_checkpoint_are_detected(tmp_path):
    more = grown(tmp_path, 600, kept_bytes=32 * 28 * 28, kept_files=1)
    assert more.memory > MEMORY and more.files == 4, more
