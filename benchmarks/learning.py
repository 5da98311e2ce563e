"""Finds out which stacks learn with which settings: trains networks and keeps the results; prints JSON.

    python benchmarks/learning.py study  # surrogate, initial weights and learning rate, by depth; 150 iterations
    python benchmarks/learning.py table  # one epoch with 25 steps of every job in docs/learning and optimization.md

Each job is a line in a file in results/learning, such as study.jsonl. Finished jobs are skipped, so an interrupted
study can continue.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from csnn_jax import machine
from csnn_jax.config.network import SurrogateName

STACKS = {
    "default": "",
    "16-32-64, hidden 256-128": "--conv-channels 16 32 64 --hidden 256 128",
    "16-32-64-64 on 32x32, hidden 128": "--input-shape 32 32 1 --conv-channels 16 32 64 64 --hidden 128",
    "hidden 512-512-512": "--conv-channels --hidden 512 512 512",
    "pool avg, reset zero": "--pool avg --reset zero",
}
WAYS = (
    "--init torch --surrogate fast_sigmoid --lr 0.01",
    "--init torch --surrogate atan --lr 0.005",
    "--init fluctuation --surrogate atan --lr 0.005",
    "--init calibrated --surrogate fast_sigmoid --lr 0.005",
    "--init calibrated --surrogate fast_sigmoid --slope 5 --lr 0.005",
    "--init calibrated --surrogate sigmoid --slope 5 --lr 0.005",
    "--init calibrated --surrogate atan --lr 0.002",
    "--init calibrated --surrogate atan --lr 0.005",
    "--init calibrated --surrogate atan --lr 0.01",
    "--init calibrated --init-density 0.05 --surrogate atan --lr 0.005",
    "--init calibrated --init-density 0.2 --surrogate atan --lr 0.005",
)
NETWORKS = {
    "default": "",
    "16-32-64, hidden 256-128": STACKS["16-32-64, hidden 256-128"],
    "64-128-256 on 32x32x3, hidden 256": "--input-shape 32 32 3 --conv-channels 64 128 256 --hidden 256",
    "16-32-64-64 on 32x32, hidden 128": STACKS["16-32-64-64 on 32x32, hidden 128"],
    "hidden 512-512-512": STACKS["hidden 512-512-512"],
    "pool avg, reset zero": STACKS["pool avg, reset zero"],
    "beta 0.9": "--beta 0.9",
    "learned beta and threshold": "--learn-beta --learn-threshold",
    "reset none": "--reset none",
    "reset none, as the default": "--reset none --init torch --surrogate fast_sigmoid --slope 25 --lr 0.01",
    "rate encoding": "--encoding rate",
    "latency encoding": "--encoding latency",
    "latency encoding, beta 0.9": "--encoding latency --beta 0.9",
}
SURROGATES = {name: f"--surrogate {name}" for name in get_args(SurrogateName)}
OPTIMIZERS = {
    "adamw": "--optimizer adamw --warmup 50 --clip-norm 1 --label-smoothing 0.1",
    "sgd": "--optimizer sgd --momentum 0.9 --lr 0.1 --surrogate atan --init calibrated",
    "rate target": "--rate-target 0.05 --surrogate atan",
}
"""The commands in docs/optimization.md."""
TABLE = NETWORKS | SURROGATES | OPTIMIZERS


@dataclass(frozen=True)
class Job:
    """A training run and its name in the results."""

    network: str
    flags: str


def study() -> Iterator[Job]:
    for way in WAYS:
        for network, stack in STACKS.items():
            yield Job(network, f"{stack} {way} --time-steps 25 --max-iters 150 --eval-every 0".strip())


def table() -> Iterator[Job]:
    for network, flags in TABLE.items():
        yield Job(network, f"{flags} --time-steps 25 --eval-every 0".strip())


LISTS = {"study": study, "table": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=LISTS)
    parser.add_argument("--only", default="", help="networks whose name contains this text")
    parser.add_argument("--out", type=Path, default=Path("results/learning"), help="folder of the results")
    options = parser.parse_args()
    path = options.out / f"{options.what}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = results(path)
    for job in LISTS[options.what]():
        if options.only in job.network and (job.network, job.flags) not in {
            (result["network"], result["flags"]) for result in done
        }:
            done.append(trained(job))
            with path.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
    print(json.dumps(done, indent=2))


def results(path: Path) -> list[dict[str, Any]]:
    """The results of earlier calls."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def trained(job: Job) -> dict[str, Any]:
    """Trains in a separate process, as a user would."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "csnn_jax.train", *job.flags.split(), "--out", f"{folder}/run"]
        print(f"{job.network}: {job.flags}", file=sys.stderr, flush=True)
        log = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        records = [json.loads(line) for line in Path(f"{folder}/run/metrics.jsonl").read_text().splitlines()]
    losses, end = [record["loss"] for record in records if record["kind"] == "train"], records[-1]
    said = ("Chosen", "Initial weights", "Health")
    return {
        "network": job.network,
        "flags": job.flags,
        "accuracy": end["accuracy"],
        "density": {layer: round(share, 4) for layer, share in end["density"].items()},
        "loss_of_last_25": round(float(np.mean(losses[-25:])), 4),
        "iterations": end["iter"],
        "seconds": end["seconds"],
        "said": [line for line in log.splitlines() if line.startswith(said)],
        "commit": machine.commit(),
        "processor": machine.describe()["processor"],
    }


if __name__ == "__main__":
    main()
