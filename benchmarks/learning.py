"""Finds out which stacks learn with which settings: trains networks and keeps the results; prints JSON.

    python benchmarks/learning.py study     # surrogate, initial weights and learning rate, by depth; 150 iterations
    python benchmarks/learning.py table     # one epoch of every network in docs/learning.md, with only its flags
    python benchmarks/learning.py tried     # more flags for those that fall short
    python benchmarks/learning.py examples  # the training commands in the docs

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
TABLE = {
    "default": "",
    "16-32-64, hidden 256-128": STACKS["16-32-64, hidden 256-128"],
    "64-128-256 on 32x32x3, hidden 256, T = 25": "--input-shape 32 32 3 --conv-channels 64 128 256 --hidden 256 "
    "--time-steps 25",
    "16-32-64-64 on 32x32, hidden 128, T = 25": STACKS["16-32-64-64 on 32x32, hidden 128"] + " --time-steps 25",
    "hidden 512-512-512, T = 25": STACKS["hidden 512-512-512"] + " --time-steps 25",
    "pool avg, reset zero": STACKS["pool avg, reset zero"],
    "beta 0.9": "--beta 0.9",
    "learnt beta and threshold": "--learn-beta --learn-threshold",
    "reset none": "--reset none",
    "rate encoding, T = 25": "--encoding rate --time-steps 25",
    "latency encoding, T = 25": "--encoding latency --time-steps 25",
    **{f"{name}, T = 25": f"--surrogate {name} --time-steps 25" for name in get_args(SurrogateName)},
}
GENTLE = "--surrogate atan --init calibrated --lr 0.005"
TRIED = {
    "beta 0.9": ("--beta 0.9", (GENTLE, "--lr 0.005")),
    "learnt beta and threshold": (
        "--learn-beta --learn-threshold",
        (GENTLE, f"{GENTLE} --schedule cosine", "--lr 0.002", "--surrogate atan", "--surrogate atan --lr 0.005"),
    ),
    "reset none": (
        "--reset none",
        (
            GENTLE,
            f"{GENTLE} --schedule cosine",
            "--lr 0.001",
            "--surrogate atan --init calibrated --lr 0.001",
            "--surrogate atan --lr 0.002",
        ),
    ),
    "hidden 512-512-512, T = 25": (
        f"{STACKS['hidden 512-512-512']} --time-steps 25",
        (
            *("--lr 0.001", "--lr 0.005", "--schedule cosine", "--lr 0.005 --schedule cosine"),
            *("--init-density 0.05", "--init-density 0.2", "--init fluctuation", "--slope 1", "--slope 4"),
            *("--beta 0.9", "--epochs 3", "--lr 0.005 --schedule cosine --epochs 3"),
        ),
    ),
    "latency encoding, T = 25": (
        "--encoding latency --time-steps 25",
        (
            *("--beta 0.8", "--beta 0.9", "--beta 0.95", "--learn-beta", "--slope 1"),
            *("--init-density 0.2", "--lr 0.002", "--lr 0.01"),
            *("--epochs 3", "--beta 0.9 --schedule cosine"),
        ),
    ),
    "sgd, T = 25": ("--optimizer sgd --momentum 0.9 --time-steps 25", ("--lr 1",)),
}
EXAMPLES = (
    "--augment 2 10 0.1 --time-steps 25",
    "--optimizer adamw --schedule cosine --warmup 50 --clip-norm 1 --label-smoothing 0.1 --time-steps 25",
    "--optimizer sgd --momentum 0.9 --lr 0.1 --surrogate atan --init calibrated --time-steps 25",
    "--rate-target 0.05 --surrogate atan --time-steps 25",
    "--surrogate atan --time-steps 25",
    "--dataset idx:/usr/share/datasets/fashion-mnist --validation 5000 --time-steps 25 --surrogate atan "
    "--init calibrated --lr 0.005",
)
SEEDS = (0, 1)


@dataclass(frozen=True)
class Job:
    """A training run and its name in the results."""

    network: str
    flags: str
    module: str = "csnn_jax.train"


def study() -> Iterator[Job]:
    for way in WAYS:
        for network, stack in STACKS.items():
            yield Job(network, f"{stack} {way} --time-steps 25 --max-iters 150 --eval-every 0".strip())


def table() -> Iterator[Job]:
    for seed in SEEDS:
        for network, flags in TABLE.items():
            yield Job(network, f"{flags} --seed {seed} --eval-every 0".strip())


def tried() -> Iterator[Job]:
    for network, (flags, more) in TRIED.items():
        for way in more:
            yield Job(network, f"{flags} {way} --seed 0 --eval-every 0")


def examples() -> Iterator[Job]:
    for flags in EXAMPLES:
        yield Job("default", f"{flags} --eval-every 0")
    yield Job("default, snnTorch", "--surrogate atan --time-steps 25 --eval-every 0", "csnn_torch.train")


LISTS = {"study": study, "table": table, "tried": tried, "examples": examples}


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
        command = [sys.executable, "-m", job.module, *job.flags.split(), "--out", f"{folder}/run"]
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
