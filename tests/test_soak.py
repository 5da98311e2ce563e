import json
import subprocess
import sys

import numpy as np
import pytest
from commands import ENVIRONMENT
from digits import few_digits

SETTLED, EVERY = 200, 100
MEMORY = 8 * 10**6
"""Bytes that may be added after `SETTLED` iterations. Measured: 3 MB by 2,000, all of it at the evaluations, with their
checkpoints and pictures; the iterations alone add nothing. One batch of images has 25 kB."""

PROGRAM = """
import ctypes, gc, json, os, sys
from csnn_jax.flags import TrainFlags, parse_train
from csnn_jax.training import job
from csnn_jax.update import trainer

class Trainer(trainer.Trainer):
    done = 0

    def step(self, batch, rate):
        self.done = batch.iteration + 1
        return super().step(batch, rate)

    def snapshot(self):
        found = super().snapshot()
        gc.collect()  # garbage in cycles, as of matplotlib's figures, goes now or a little later
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system, now and not at some other time
        lines = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
        own = sum(int(lines[name].split()[0]) for name in ("RssAnon", "VmSwap"))  # kB
        print(json.dumps([self.done, own * 1024, len(os.listdir("/proc/self/fd"))]), flush=True)
        return found

sys.exit(job.train(parse_train(TrainFlags, "soak", "", sys.argv[1:]), Trainer))
"""
"""Trains, and after each evaluation's checkpoint tells what it holds."""


@pytest.mark.slow
@pytest.mark.parametrize("iterations", [500, pytest.param(2000, marks=pytest.mark.rare)])
def test_neither_memory_nor_open_files_grow(iterations, tmp_path):
    stack = ("--conv-channels", 4, "--hidden", 16, "--time-steps", 4, "--batch-size", 32, "--augment", 1, 5, 0.1)
    length = ("--epochs", 200, "--max-iters", iterations, "--eval-every", EVERY, "--tensorboard")
    flags = (*stack, *length, "--dataset", few_digits(tmp_path), "--out", tmp_path / "run")
    command = [sys.executable, "-c", PROGRAM, *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    held = {iteration: (memory, files) for iteration, memory, files in found}
    memory, files = np.subtract(held[iterations], held[SETTLED])
    assert memory < MEMORY and files == 0, (memory, files)
