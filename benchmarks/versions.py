"""Times two versions of csnn_jax against each other: importing it, and both engines' steps; prints JSON.

    python benchmarks/versions.py OLD/bin/python NEW/bin/python > results/versions.json

The arguments are the Python programs of environments in which the versions are installed. Processes of both take turns.
A ratio is the median over the turns of new / old, so above 1 the new version is slower.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace

IMPORTS, STEPS = 5, 12
WORK = {"event": 100, "scan": 10}
"""Time steps by engine: the default job's, and few enough for the scan engine."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="the old and the new one")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--one", action="store_true", help="time the version that runs this")
    flags = parser.parse_args()
    if flags.one:
        print(json.dumps(seconds()))
        return
    if len(flags.pythons) != 2:
        parser.error("expected two Python programs")
    rounds = []
    for turn in range(flags.turns):
        order = flags.pythons if turn % 2 == 0 else flags.pythons[::-1]
        by_python = {python: measured(python) for python in order}
        rounds.append([by_python[python] for python in flags.pythons])
    names = [name for name in rounds[0][0] if name not in ("processor", "commit")]
    print(json.dumps(report(rounds, names), indent=1))


def measured(python: str) -> dict:
    """What one process of a version prints, with the median time of importing it."""
    times = []
    for _ in range(IMPORTS):
        began = time.perf_counter()
        subprocess.run([python, "-c", "import csnn_jax"], check=True)
        times.append(time.perf_counter() - began)
    one = subprocess.run([python, __file__, "--one"], stdout=subprocess.PIPE, text=True, check=True)
    return {"import": statistics.median(times)} | json.loads(one.stdout)


def report(rounds: list[list[dict]], names: list[str]) -> dict:
    """Medians and ratios over all turns."""
    old, new = zip(*rounds, strict=True)
    rows = {}
    for name in names:
        ratios = [two[name] / one[name] for one, two in zip(old, new, strict=True)]
        rows[name] = {
            "old_s": round(statistics.median(one[name] for one in old), 4),
            "new_s": round(statistics.median(two[name] for two in new), 4),
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
        }
    commits = {"old": old[0]["commit"], "new": new[0]["commit"]}
    return {"processor": new[0]["processor"], "commits": commits, "turns": len(rounds), "times": rows}


def seconds() -> dict:
    """Median seconds of a training step and of inference on 128 images, by engine."""
    import numpy as np

    from csnn_jax import machine
    from csnn_jax.config import Config, decided
    from csnn_jax.data import Split
    from csnn_jax.training.feed import Batch
    from csnn_jax.update.trainer import Trainer

    random = np.random.default_rng(0)
    images = (random.integers(0, 256, (128, 28, 28, 1)) * (random.random((128, 28, 28, 1)) < 0.2)).astype(np.uint8)
    labels = (np.arange(128) % 10).astype(np.int32)
    result: dict = {"processor": machine.processor_name(), "commit": machine.commit()}
    config = decided(Config())
    for engine, steps in WORK.items():
        job = replace(config, model=replace(config.model, time_steps=steps), train=replace(config.train, engine=engine))
        trainer = Trainer(job, Split(images, labels))
        trained, inferred = [], []
        for number in range(STEPS):
            began = time.perf_counter()
            trainer.step(Batch(number, images, labels), 0.001).fetched()
            trained.append(time.perf_counter() - began)
            began = time.perf_counter()
            trainer.evaluate(Split(images, labels))
            inferred.append(time.perf_counter() - began)
        result |= {f"{engine}, training step": statistics.median(trained[2:])}
        result |= {f"{engine}, inference": statistics.median(inferred[2:])}
    return result


if __name__ == "__main__":
    sys.exit(main())
