"""Where the time of the event engine's training iteration and inference batch goes; prints JSON.

    python benchmarks/engine_profile.py RUN > results/engine_profile.json

RUN is a run directory of the trained network. Milliseconds of every operation of event_ops.py as JAX's profiler saw it
on real MNIST batches, medians; `xla` is all the rest: the first convolution, its gradient, Adam, the loss.
"""

import collections
import glob
import gzip
import json
import re
import statistics
import sys
import tempfile
import time

import jax
import numpy as np

from csnn_jax import data
from csnn_jax.runs import rundir
from csnn_jax.training import learner
from csnn_jax import machine

ROUNDS = 7


def main() -> None:
    _, config, tensors = rundir.open_run(sys.argv[1])
    images = data.load(config.data.dataset, config.model.input_shape)
    work = learner.Learner(config, images.train, tensors)
    batch = np.arange(config.train.batch_size)
    one = data.Split(images.test.images[batch], images.test.labels[batch])
    x, labels = work._input(*work._train[::2], batch, (0, 0)), work._train[1][batch]
    training = work._update.lower(work.state, x, labels).compile().as_text()
    inference = work._tally.lower(work.state.params, x).compile().as_text()
    found = {
        "command": "python benchmarks/engine_profile.py RUN",
        **machine.describe(),
        "inference_batch": profile(lambda: work.evaluate(one), inference),
        "training_iteration": profile(lambda: work.step(0, batch), training),
    }
    print(json.dumps(found, indent=2))


def profile(function, hlo: str) -> dict[str, float]:
    """Milliseconds of each operation in one call."""
    names = dict(re.findall(r'(\S+) = [^\n]*custom_call_target="csnn_(\w+)"', hlo))
    names = {name.lstrip("%"): operation for name, operation in names.items()}
    function()
    rounds: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                began = time.perf_counter()
                function()
                total = (time.perf_counter() - began) * 1000
            (path,) = glob.glob(f"{folder}/**/*.trace.json.gz", recursive=True)
            with gzip.open(path) as file:
                events = json.load(file)["traceEvents"]
        spent: dict[str, float] = collections.defaultdict(float)
        for event in events:
            if event.get("name") in names:
                spent[names[event["name"]]] += event["dur"] / 1000
        rounds.append(spent | {"xla": total - sum(spent.values()), "total": total})
    return {name: round(statistics.median(r[name] for r in rounds), 2) for name in rounds[0]}


if __name__ == "__main__":
    main()
