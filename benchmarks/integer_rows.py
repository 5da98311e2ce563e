"""Measures how much faster inference is with low-bit weights, which the event engine adds as integers; prints JSON.

    python benchmarks/integer_rows.py RUN > results/integer_rows.json

RUN is a full-precision run. Its network and versions rounded to 8 and 4 bits take turns on one batch of test images.
The rounded ones also run without integers, because rounding changes how often neurons spike.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from csnn_jax import data, machine
from csnn_jax.config import ModelConfig
from csnn_jax.engine import event, process
from csnn_jax.network import model as models
from csnn_jax.runner import Runners
from csnn_jax.runs import layouts, rundir

ROUNDS, BATCH = 40, 128
KINDS = {"full precision": (None, False)} | {
    f"{bits} bits{'' if whole else ', added as floats'}": (bits, whole) for bits in (8, 4) for whole in (True, False)
}


def main() -> None:
    _, config, tensors = rundir.open_run(sys.argv[1])
    process.set_up("float32")
    images = data.load_for(config).test.images
    calls = {}
    for name, (bits, whole) in KINDS.items():
        calls[name] = compiled(*layouts.with_bits(config.model, tensors, bits), whole, images)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if number:
                times[name].append((time.perf_counter() - began) * 1000)
    medians = {name: statistics.median(of) for name, of in times.items()}
    about = {"command": "python benchmarks/integer_rows.py RUN", "commit": machine.commit(), **machine.describe()}
    ratios = [full / eight for full, eight in zip(times["full precision"], times["8 bits"], strict=True)]
    times_as_fast = {"median": statistics.median(ratios), "quartiles": statistics.quantiles(ratios)}
    print(json.dumps(about | {"batch": BATCH, "median_ms": medians, "8 bits, times as fast": times_as_fast}, indent=1))


def compiled(config: ModelConfig, tensors: layouts.Tensors, whole: bool, images: np.ndarray) -> Callable[[], Any]:
    """Compiles the inference of one batch."""
    network = models.from_tensors(config, tensors, jnp.float32)
    runner = Runners(network, "event", 0).of(images)
    x = runner.present(runner.hold(images), np.arange(BATCH), (0, 0))
    params = nnx.split(network)[1]
    real = event.weight_bits
    if not whole:
        event.weight_bits = lambda block, planes: 0
    try:
        params = runner.rounded(params)
        infer = runner.count_on_grids.lower(params, x).compile()
    finally:
        event.weight_bits = real
    return lambda: jax.block_until_ready(infer(params, x))


if __name__ == "__main__":
    main()
