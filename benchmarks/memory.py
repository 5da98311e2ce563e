"""Measures peak memory and time of a training iteration with and without micro-batches; prints JSON.

    python benchmarks/memory.py [--steps 100 300 1000] [--engines event scan] [--microbatch off auto]

Each measurement is a separate process: the default network on MNIST, batch 128, with the seed's initial weights or,
with --run, a run's weights. The peak is the resident memory of the whole process; the time is the median iteration.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from csnn_jax import data, machine
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided, lr_of
from csnn_jax.runs import rundir
from csnn_jax.training.feed import Feed

ITERATIONS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=(100, 300, 1000))
    parser.add_argument("--engines", nargs="+", default=("event", "scan"))
    parser.add_argument("--microbatch", nargs="+", default=("off", "auto"))
    parser.add_argument("--run", help="run directory with the initial weights")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(*options.one, options.run)))
        return
    measurements = [
        in_a_process(engine, str(steps), size, options.run)
        for steps in options.steps
        for engine in options.engines
        for size in options.microbatch
    ]
    about = {"command": " ".join(["python", *sys.argv]), "commit": machine.commit(), **machine.describe()}
    print(json.dumps(about | {"measured": measurements}, indent=2))


def in_a_process(engine: str, steps: str, size: str, run: str | None) -> dict[str, Any]:
    started = [sys.executable, __file__, "--one", engine, steps, size, *(["--run", run] if run else [])]
    print(*started[3:], file=sys.stderr, flush=True)
    done = subprocess.run(started, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return {"engine": engine, "time_steps": int(steps), "microbatch": size, "failed": done.returncode}
    return json.loads(done.stdout.splitlines()[-1])


def measured(engine: str, steps: str, size: str, run: str | None) -> dict[str, Any]:
    """Runs a few iterations; the first one, which compiles, only counts for memory."""
    from csnn_jax.update.trainer import Trainer

    microbatch = int(size) if size.isdigit() else size
    config = decided(
        Config(ModelConfig(time_steps=int(steps)), train=TrainConfig(engine=engine, microbatch=microbatch))  # type: ignore[arg-type]
    )
    tensors = rundir.open_run(run)[2] if run else None
    dataset = data.load("mnist", config.model.input_shape)
    trainer, feed = Trainer(config, dataset.train, tensors), Feed(config, dataset.train)
    index = data.epoch_batches(0, 0, len(dataset.train.labels), config.train.batch_size)
    seconds = []
    for iteration in range(ITERATIONS):
        began = time.perf_counter()
        trainer.step(feed.batch(iteration, index[iteration]), lr_of(config)).fetched()
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "engine": engine,
        "time_steps": int(steps),
        "microbatch": config.train.microbatch,
        "asked": size,
        "peak_gb": round(peak / 1e9, 2),
        "seconds": round(statistics.median(seconds[1:]), 3),
    }


if __name__ == "__main__":
    main()
