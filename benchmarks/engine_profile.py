"""Profiles a training iteration and an inference batch of the event engine; prints JSON.

    python benchmarks/engine_profile.py RUN > results/engine_profile.json

RUN is a run directory of the trained network. Prints median milliseconds of every operation of csnn_jax.ops, from JAX's
profiler on real batches; `xla` is everything else: weights' rounding, Adam, checks for finite gradients, the loss.
"""

import collections
import contextlib
import glob
import gzip
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from csnn_jax import data, machine
from csnn_jax.config import Config, lr_of
from csnn_jax.engine import process, scan
from csnn_jax.network import model
from csnn_jax.runner import Runners
from csnn_jax.runs import rundir
from csnn_jax.runs.layouts import Tensors
from csnn_jax.update import gradient as gradients
from csnn_jax.update import objective, optimizer, trainer

ROUNDS = 7


def main() -> None:
    with contextlib.redirect_stdout(sys.stderr):  # data sets report their caches
        _, config, tensors = rundir.open_run(sys.argv[1])
        process.set_up(config.train.dtype)
        training, inference = compiled(config, tensors, data.load_for(config))
        result = {
            "command": "python benchmarks/engine_profile.py RUN",
            "commit": machine.commit(),
            "dataset": config.data.dataset,
            **machine.describe(),
            "inference_batch": profile(*inference),
            "training_iteration": profile(*training),
        }
    print(json.dumps(result, indent=2))


Work = tuple[Callable[[], object], str]  # a function, and the optimized program it runs


def compiled(config: Config, tensors: Tensors, images: data.Dataset) -> tuple[Work, Work]:
    """One training iteration and one inference batch, as csnn_jax's trainer runs them."""
    network = model.from_tensors(config.model, tensors, jnp.dtype(config.train.dtype))
    graph, params = nnx.split(network)
    runner = Runners(network, config.train.engine, config.train.seed).of(images.train.images)
    rows = np.arange(config.train.batch_size)
    x, test = (runner.present(runner.hold(split.images), rows, (0, 0)) for split in (images.train, images.test))
    add_up = runner.engine.add_up
    adam, rate = optimizer.make(config.train, add_up), lr_of(config)
    state = trainer.State(params, jax.tree.map(jnp.copy, params), adam.init(params))
    labels = jnp.asarray(images.train.labels[rows])
    gradient = gradients.make(graph, objective.make(config.train, add_up), runner.engine, config.train.part)
    update = scan.jit(trainer.make_update(graph, adam, gradient, add_up), donate_argnums=0)
    update = update.lower(state, x, labels, rate).compile()
    rounded = jax.tree.map(jnp.copy, runner.rounded(params))  # the update overwrites the others
    infer = runner.count_on_grids.lower(rounded, test).compile()

    def train() -> Array:
        nonlocal state
        state, seen = update(state, x, labels, rate)
        return seen.loss

    return (train, update.as_text()), (lambda: infer(rounded, test), infer.as_text())


def profile(function: Callable[[], object], hlo: str) -> dict[str, float]:
    """Milliseconds per call for the operations of each kind, for the rest, and in total."""
    spent_by: dict[str, float] = collections.defaultdict(float)
    operations, total = spent_and_total(function, hlo)
    for line, ms in operations.items():
        spent_by[line.partition(" ")[0]] += ms
    rest = {"xla": total - sum(spent_by.values()), "total": total}
    return {name: round(ms, 2) for name, ms in (spent_by | rest).items()}


def spent_and_total(function: Callable[[], object], hlo: str) -> tuple[dict[str, float], float]:
    """Median milliseconds of each operation, named `kind (types of its results)`, and of one call."""
    calls = re.findall(r'(\S+) = ([^\n]*?) custom-call\([^\n]*custom_call_target="csnn_(\w+)"', hlo)
    names = {name.lstrip("%"): f"{operation} {results}" for name, results, operation in calls}
    jax.block_until_ready(function())
    rounds: list[dict[str, float]] = []
    totals = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                began = time.perf_counter()
                jax.block_until_ready(function())
                totals.append((time.perf_counter() - began) * 1000)
            (path,) = glob.glob(f"{folder}/**/*.trace.json.gz", recursive=True)
            with gzip.open(path) as file:
                events = json.load(file)["traceEvents"]
        spent: dict[str, float] = collections.defaultdict(float)
        for event in events:
            if event.get("name") in names:
                spent[names[event["name"]]] += event["dur"] / 1000
        rounds.append(spent)
    return {name: statistics.median(r.get(name, 0.0) for r in rounds) for name in rounds[0]}, statistics.median(totals)


if __name__ == "__main__":
    main()
