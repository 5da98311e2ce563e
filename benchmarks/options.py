"""Measures the cost of training options per iteration; prints JSON.

    python benchmarks/options.py [--iterations 25] [--rounds 3] [--only TEXT]

Each job is a process that runs the command's own loop on MNIST from the seed's initial weights, and stops after some
iterations. All jobs take turns. A cost is the difference between two jobs' median iterations. It includes records and
background work, but not evaluations.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from csnn_jax import data, machine
from csnn_jax.devices.flags import JaxFlags
from csnn_jax.flags import parse_train
from csnn_jax.runs import rundir
from csnn_jax.training import job
from csnn_jax.training.feed import Feed
from csnn_jax.training.prepare import prepare
from csnn_jax.training.trainer import Job
from csnn_jax.update.trainer import Trainer

DEFAULT, SCAN, SHORT = "", "--engine scan --time-steps 25", "--surrogate atan --lr 0.005 --time-steps 25"
BARE = "the step alone"
OPTIONS = {
    "health, records and the progress bar": (BARE, DEFAULT),
    "checkpoint at every iteration": (DEFAULT, "--checkpoint-every 1"),
    "checkpoint at every 10th iteration": (DEFAULT, "--checkpoint-every 10"),
    "--tensorboard": (DEFAULT, "--tensorboard"),
    "--microbatch 32": (DEFAULT, "--microbatch 32"),
    "--optimizer adamw": (DEFAULT, "--optimizer adamw"),
    "--optimizer sgd --momentum 0.9": (DEFAULT, "--optimizer sgd --momentum 0.9"),
    "--clip-norm 1": (DEFAULT, "--clip-norm 1"),
    "--schedule cosine --label-smoothing 0.1": (DEFAULT, "--schedule cosine --label-smoothing 0.1"),
    "--augment 2 10 0.1, T = 25": (SHORT, f"{SHORT} --augment 2 10 0.1"),
    "--rate-target 0.05, engine scan, T = 25": (SCAN, f"{SCAN} --rate-target 0.05"),
}
SETTLED = 5  # iterations that compile and warm up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="options whose name contains this text")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        print(json.dumps(timed(options.worker, options.iterations)))
        return
    chosen = {name: jobs for name, jobs in OPTIONS.items() if options.only in name}
    seconds = measured({flags for jobs in chosen.values() for flags in jobs}, options.iterations, options.rounds)
    about = {"command": " ".join(["python", *sys.argv]), "commit": machine.commit(), **machine.describe()}
    found = [compared(name, before, after, seconds) for name, (before, after) in chosen.items()]
    print(json.dumps({**about, "measured": found}, indent=2))


def measured(jobs: set[str], iterations: int, rounds: int) -> dict[str, list[float]]:
    """The median iteration (s) of every job in every round; all jobs take a turn in each."""
    seconds: dict[str, list[float]] = {flags: [] for flags in sorted(jobs)}
    for _ in range(rounds):
        for flags, medians in seconds.items():
            command = [sys.executable, __file__, f"--worker={flags}", "--iterations", str(iterations)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            medians.append(statistics.median(json.loads(done.stdout.splitlines()[-1])[SETTLED:]))
            print(f"{flags or 'the default job'}: {medians[-1]:.3f} s", file=sys.stderr, flush=True)
    return seconds


def compared(name: str, before: str, after: str, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """The time added to the median iteration."""
    without, with_it = statistics.median(seconds[before]), statistics.median(seconds[after])
    return {
        "option": name,
        "added_to": before or "the default job",
        "without_ms": round(1e3 * without, 1),
        "with_ms": round(1e3 * with_it, 1),
        "cost_percent": round(100 * (with_it / without - 1), 1),
        "rounds_ms": [[round(1e3 * s, 1) for s in seconds[job]] for job in (before, after)],
    }


def timed(asked: str, iterations: int) -> list[float]:
    """Seconds of every iteration of a job."""
    flags = parse_train(JaxFlags, "options", "", [*asked.replace(BARE, "").split(), "--eval-every", "0"])
    with tempfile.TemporaryDirectory() as folder:
        ready = prepare(flags, partial(Trainer, devices=flags.devices))
        if asked == BARE:
            return bare(ready, iterations)
        asked_at: list[float] = []

        def go_on() -> bool:
            asked_at.append(time.perf_counter())
            return len(asked_at) <= iterations

        run = rundir.create(f"{folder}/run", ready.config, False)
        with run.claimed():
            job.train_into(ready, run, job.FRESH, go_on)
        assert Path(run.weights).exists()
    return [after - before for before, after in pairwise(asked_at)]


def bare(ready: Job, iterations: int) -> list[float]:
    """Seconds of the trainer's steps alone."""
    labels, batch = ready.dataset.train.labels, ready.config.train.batch_size
    feed = Feed(ready.config, ready.dataset.train)
    index, seconds = data.epoch_batches(ready.config.train.seed, 0, len(labels), batch), []
    for iteration in range(iterations):
        began = time.perf_counter()
        ready.trainer.step(feed.batch(iteration, index[iteration]), float(ready.rates[iteration])).fetched()
        seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()
