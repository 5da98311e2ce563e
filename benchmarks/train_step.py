"""Times a training iteration and an inference batch of csnn_jax and of snnTorch's tutorial loop; prints JSON.

    python benchmarks/train_step.py RUN > results/train_step.json

RUN is a run directory of any trained network. There are also faster versions of the tutorial loop: channels last, and
with the first convolution of the constant image before the loop. `csnn_torch.compare.cost` and `timings` describe the
measurements, and when there is no ratio; the machine must be otherwise idle. Startup is measured with an empty
compilation cache, and again with the cache from the first start.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from csnn_jax import data, machine
from csnn_jax.config import Config, ModelConfig, TrainConfig
from csnn_jax.runs import rundir
from csnn_torch.compare import cost
from csnn_torch.compare.cost import BASE, Cost

TURNS = 3  # per side
BASELINES = (BASE, "snntorch channels last", "snntorch first convolution once")


@dataclass(frozen=True)
class Options:
    run: str
    engine: str
    rounds: int


def main() -> None:
    options = arguments()
    with contextlib.redirect_stdout(sys.stderr):  # data sets report their caches
        result = measured(options)
    print(json.dumps(result, indent=2))


def measured(options: Options) -> dict[str, Any]:
    _, config, _ = rundir.open_run(options.run)
    ours, *baselines = cost.measure(options.run, (options.engine, *BASELINES), TURNS, options.rounds)
    for side in (ours, baselines[0]):
        if side.failed:
            raise SystemExit(f"{side.side}: {side.failed}")
    others = [side for side in baselines if not side.failed]
    same = np.equal(ours.predictions, baselines[0].predictions)
    result = {
        "command": f"python benchmarks/train_step.py RUN --engine {options.engine} --rounds {options.rounds}",
        "commit": machine.commit(),
        **machine.describe(),
        "batch_size": config.train.batch_size,
        "time_steps": config.model.time_steps,
        "dataset": config.data.dataset,
        "input_density": input_density(config),
        "densities": ours.densities,
        "same_predictions": f"{same.sum()} of {same.size}",
        "times_faster": {
            side.side: {
                "training": ours.speed(side, "step"),
                "inference": ours.speed(side, "infer"),
            }
            for side in others
        },
        "csnn_jax": figures(ours),
        **{side.side.replace(" ", "_"): figures(side) for side in baselines},
        "start_to_first_iteration_s": start_up(options.run, options.engine),
    }
    if is_default(config):
        result["default_job_s_extrapolated"] = {side.side: round(default_job(side)) for side in (ours, *others)}
    return result


def arguments() -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run directory of a trained network")
    parser.add_argument("--engine", default="event", choices=("scan", "event"), help="csnn_jax's engine")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds in each turn")
    return Options(**vars(parser.parse_args()))


def input_density(config: Config) -> float:
    """Fraction of nonzero values in some test images or frames."""
    return round(float(np.mean(data.load_for(config).test.images[np.arange(config.train.batch_size)] != 0)), 5)


def figures(side: Cost) -> dict[str, Any]:
    """Everything except the predictions, which were compared."""
    return {name: value for name, value in side.as_json().items() if name != "predictions"}


def is_default(config: Config) -> bool:
    """Whether the network, its images and its batches are the default job's."""
    job = [*config.model.graph], config.model.time_steps, config.data.dataset, config.train.batch_size
    return job == ([*ModelConfig().graph], ModelConfig.time_steps, "mnist", TrainConfig.batch_size)


def default_job(side: Cost) -> float:
    """Seconds of the default job's 468 iterations and 11 evaluations of 10,000 images, from the medians."""
    return 468 * side.step.clock_s + 11 * 79 * side.infer.clock_s


def start_up(run: str, engine: str) -> dict[str, float]:
    """Seconds from starting a process to the end of its first training iteration."""
    seconds = {}
    with tempfile.TemporaryDirectory() as cache:
        for label in ("empty_cache", "warm_cache"):
            began = time.time()
            process = cost.Process(run, engine, JAX_COMPILATION_CACHE_DIR=cache)
            seconds[label] = round(process.ask("step")["now"] - began, 2)
            process.close()
    return seconds


if __name__ == "__main__":
    main()
