"""Counts the steps after which the C program's answer is decided (`csnn --early`), on the first 1,000 test images.

    python -m csnn_jax.train --out RUN --time-steps 25 --max-iters 250
    python benchmarks/early.py RUN > results/early.json

For several windows; `equal` counts the answers that are those of the whole window.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax import data, machine
from csnn_jax.config.network import ModelConfig
from csnn_jax.runs import rundir
from csnn_jax.runs.layouts import Tensors
from export.c import program

WINDOWS = (25, 10, 4)


def main() -> None:
    (run,) = sys.argv[1:]
    _, config, tensors = rundir.open_run(run)
    images = data.load_for(config).test.images[:1000]
    rows = [of_window(replace(config.model, time_steps=steps), tensors, images) for steps in WINDOWS]
    about = {"command": "python benchmarks/early.py RUN", "commit": machine.commit(), **machine.describe()}
    print(json.dumps(about | {"rows": rows}, indent=1))


def of_window(config: ModelConfig, tensors: Tensors, images: np.ndarray) -> dict[str, Any]:
    """The steps that answers take, and whether they're those of the whole window."""
    with tempfile.TemporaryDirectory() as folder:
        program.write_sources(Path(folder), config, tensors)
        built = program.build(Path(folder), Path(folder)).program
        classes, _ = program.answers(built, images)
        command, samples = [built, "--early"], images.tobytes()
        printed = subprocess.run(command, input=samples, capture_output=True, check=True).stdout.decode()
    lines = re.findall(r"^class (.+), spike counts .+, after (\d+) of \d+ steps$", printed, re.M)
    answers, steps = [-1 if name == "-" else int(name) for name, _ in lines], [int(taken) for _, taken in lines]
    return {
        "time_steps": config.time_steps,
        "images": len(images),
        "equal": int((np.array(answers) == classes).sum()),
        "before_the_end": sum(taken < config.time_steps for taken in steps),
        "mean_steps": round(statistics.mean(steps), 1),
        "fewest_steps": min(steps),
    }


if __name__ == "__main__":
    main()
