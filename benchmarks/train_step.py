"""Times one training iteration and one inference batch of csnn_jax beside snnTorch's tutorial loop; prints JSON.

    python benchmarks/train_step.py RUN > results/train_step.json

RUN is a run directory of the trained network. How the two are measured, see `csnn_torch.compare.cost`; the machine must
be otherwise idle. Start-up is measured from an empty compilation cache, and again from the one that it left.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from csnn_jax import data, machine
from csnn_jax.config import Config
from csnn_jax.runs import rundir
from csnn_torch.compare import cost
from csnn_torch.compare.results import Cost

TURNS = 2  # of each side


@dataclass(frozen=True)
class Options:
    run: str
    engine: str
    rounds: int


def main() -> None:
    options = arguments()
    _, config, _ = rundir.open_run(options.run)
    sides = (options.engine, "snntorch", "snntorch channels last")
    ours, theirs, faster = cost.measure(options.run, sides, TURNS, options.rounds)
    for side in (ours, theirs, faster):
        if side.failed:
            raise SystemExit(f"{side.side}: {side.failed}")
    same = np.equal(ours.predictions, theirs.predictions)
    result = {
        "command": f"python benchmarks/train_step.py RUN --engine {options.engine} --rounds {options.rounds}",
        "commit": machine.commit(),
        **machine.describe(),
        "batch_size": config.train.batch_size,
        "time_steps": config.model.time_steps,
        "dataset": config.data.dataset,
        "input_density": input_density(config),
        "same_predictions": f"{same.sum()} of {same.size}",
        "times_faster": {
            side.side: {
                "training": round(side.step_s / ours.step_s, 2),
                "inference": round(side.infer_s / ours.infer_s, 2),
            }
            for side in (theirs, faster)
        },
        "default_job_s_extrapolated": {side.side: round(default_job(side)) for side in (ours, theirs, faster)},
        "csnn_jax": figures(ours),
        "snntorch": figures(theirs),
        "snntorch_channels_last": figures(faster),  # beyond the tutorial
        "start_to_first_iteration_s": start_up(options.run, options.engine),
    }
    print(json.dumps(result, indent=2))


def arguments() -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run directory of a trained network")
    parser.add_argument("--engine", default="event", choices=("scan", "event"), help="csnn_jax's engine")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of each turn")
    return Options(**vars(parser.parse_args()))


def input_density(config: Config) -> float:
    """Share of the values of some test images, or frames, that are not 0."""
    return round(float(np.mean(data.load_for(config).test.images[np.arange(config.train.batch_size)] != 0)), 5)


def figures(side: Cost) -> dict[str, Any]:
    """All but the predictions, which were compared."""
    return {name: value for name, value in side.as_json().items() if name != "predictions"}


def default_job(side: Cost) -> float:
    """Seconds of the default job's 468 iterations and 11 evaluations of 10,000 images, from the medians."""
    return 468 * side.step_s + 11 * 79 * side.infer_s


def start_up(run: str, engine: str) -> dict[str, float]:
    """Seconds from starting a process to the end of its first training iteration."""
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        for label in ("empty_cache", "warm_cache"):
            began = time.time()
            process = cost.Process(run, engine, JAX_COMPILATION_CACHE_DIR=cache)
            found[label] = round(process.ask("step")["now"] - began, 2)
            process.close()
    return found


if __name__ == "__main__":
    main()
