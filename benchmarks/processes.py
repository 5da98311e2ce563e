"""Compares the training speed of one process with two threads and two processes with one thread each; prints JSON.

    python benchmarks/processes.py [--engines event scan] [--iterations 12]

Both run the same job: the default network on MNIST, 128 images per iteration, from the seed's initial weights. Each of
the two processes is pinned to its own core; they connect over loopback. Time is the median, without the first two
iterations.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

from csnn_jax import data, machine
from csnn_jax.config import Config, TrainConfig, decided
from csnn_jax.devices.flags import JaxFlags
from csnn_jax.train import connected
from csnn_jax.training.feed import Feed
from csnn_jax.update.trainer import Trainer

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=("event", "scan"))
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(worked(**json.loads(options.worker))))
        return
    found = [compared(engine, options.iterations) for engine in options.engines]
    print(json.dumps({"command": " ".join(["python", *sys.argv]), **machine.describe(), "measured": found}, indent=2))


def compared(engine: str, iterations: int) -> dict[str, Any]:
    """Runs both alternately, several times; medians of the rounds' medians."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    losses: dict[int, list[float]] = {}
    for _ in range(ROUNDS):
        for processes in seconds:
            result = run(engine, iterations, processes)
            seconds[processes].append(result["seconds"])
            losses[processes] = result["losses"]
    one, two = (statistics.median(seconds[processes]) for processes in (1, 2))
    return {
        "engine": engine,
        "one_process_two_threads_s": round(one, 4),
        "two_processes_one_thread_s": round(two, 4),
        "iterations_per_s": [round(1 / one, 3), round(1 / two, 3)],
        "speed_of_two": round(one / two, 3),
        "losses": losses,
    }


def run(engine: str, iterations: int, processes: int) -> dict[str, Any]:
    """Runs a training job; returns the first process's results."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    cores = sorted(os.sched_getaffinity(0))
    started = []
    for number in range(processes):
        meeting = {"coordinator": address, "num_processes": processes, "process_id": number} if processes > 1 else {}
        work = json.dumps({"engine": engine, "iterations": iterations, "meeting": meeting})
        process = subprocess.Popen([sys.executable, __file__, "--worker", work], stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(process.pid, cores[:2] if processes == 1 else {cores[number]})
        started.append(process)
    printed = [process.communicate()[0] for process in started]
    return json.loads(printed[0].splitlines()[-1])


def worked(engine: Any, iterations: int, meeting: dict[str, Any]) -> dict[str, Any]:
    """One process's part."""
    flags = JaxFlags(config=decided(Config(train=TrainConfig(engine=engine, microbatch="off"))), **meeting)
    dataset = data.load("mnist", flags.config.model.input_shape)
    index = data.epoch_batches(0, 0, len(dataset.train.labels), flags.config.train.batch_size)
    seconds, losses = [], []
    with connected(flags) as processes:
        trainer = Trainer(flags.config, dataset.train, devices=flags.devices)
        feed = Feed(flags.config, dataset.train, trainer.rows)
        for iteration in range(iterations):
            began = time.perf_counter()
            step = trainer.step(feed.batch(iteration, index[iteration]), 0.01).fetched()
            processes.maximum(0)  # the training loop does this to agree on whether to continue
            seconds.append(time.perf_counter() - began)
            losses.append(step.loss)
    return {"seconds": statistics.median(seconds[2:]), "losses": losses}


if __name__ == "__main__":
    main()
