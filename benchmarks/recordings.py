"""Measures startup time and memory for data sets of event recordings, by number of recordings; prints JSON.

    python benchmarks/recordings.py [--counts 2000 20000] [--steps 25]

The recordings have N-MNIST's format and size (34x34 pixels, about 4,200 events in 300 ms) and random events. Each
measurement is a separate process: the first start, which makes and caches all frames, and a second one, each followed
by an epoch of batches. The peak is the resident memory of the whole process; cache_bytes is the size of the cache.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax import data, machine
from csnn_jax.data.events.cache import Cache

EVENTS = 4200
BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=(2000, 20000), help="numbers of training recordings")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        folder, cache, steps = options.one
        print(json.dumps(measured(folder, cache, int(steps))))
        return
    found = [of(count, options.steps) for count in options.counts]
    print(
        json.dumps(
            {
                "command": " ".join(["python", *sys.argv]),
                "commit": machine.commit(),
                **machine.describe(),
                "measured": found,
            },
            indent=2,
        )
    )


def of(count: int, steps: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "data"), count)
        task = [sys.executable, __file__, "--one", f"{folder}/data", f"{folder}/cache", str(steps)]
        first, second = (json.loads(subprocess.check_output(task, text=True).splitlines()[-1]) for _ in range(2))
        size = sum(path.stat().st_size for path in Path(folder, "cache").rglob("*") if path.is_file())
    result = {"recordings": count, "first": first, "second": second, "cache_bytes": size}
    print(result, file=sys.stderr, flush=True)
    return result


def write(folder: Path, count: int) -> None:
    """Writes N-MNIST-like data with `count` training recordings and ten test recordings."""
    random = np.random.default_rng(0)
    for part, of_class in (("Train", count // 10), ("Test", 1)):
        for label in range(10):
            where = folder / part / str(label)
            where.mkdir(parents=True)
            for number in range(of_class):
                t = np.sort(random.integers(0, 300_000, EVENTS))
                x, y, p = random.integers(0, 34, EVENTS), random.integers(0, 34, EVENTS), random.integers(0, 2, EVENTS)
                columns = x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255
                (where / f"{number:05}.bin").write_bytes(np.stack(columns, 1).astype(np.uint8).tobytes())


def measured(folder: str, cache: str, steps: int) -> dict[str, float]:
    """Loads the data set and iterates over its batches; seconds and megabytes."""
    began = time.perf_counter()
    train = data.load(f"nmnist:{folder}", None, time_steps=steps, cache=Cache(Path(cache), tell=id)).train
    started = time.perf_counter()
    for rows in data.epoch_batches(0, 0, len(train.labels), BATCH):
        train.images[rows]
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"start_s": round(started - began, 3), "epoch_s": round(ended - started, 2), "peak_mb": round(peak)}


if __name__ == "__main__":
    main()
