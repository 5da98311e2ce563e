"""Times `csnn_torch.convert` of a default network's state_dict with several commits; prints JSON.

    python benchmarks/convert.py RUN --checkout OLD --checkout . > results/convert.json

RUN is a run of the default network. Its weights are multiplied by 1 + 0.001 x, x from a normal distribution, so
rounding them to their grids changes spikes. Checkouts need a built engine; they take turns, each as a whole command.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import start
import torch
from snntorch import Leaky
from torch import nn

from csnn_jax import machine
from csnn_jax.runs import rundir


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--checkout", action="append", required=True, help="a clone of this repository")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        torch.save(state_dict(options.run), Path(folder, "net.pt"))
        turns = [[timed(Path(one), folder) for one in options.checkout] for _ in range(options.turns)]
    result = {
        "command": f"python benchmarks/{Path(__file__).name} RUN --checkout OLD --checkout .",
        "commit": machine.commit(),
        **machine.describe(),
        "commits": [start.commit(Path(one)) for one in options.checkout],
        "s": [[turn[side]["s"] for turn in turns] for side in range(len(options.checkout))],
        "processor_s": [[turn[side]["processor_s"] for turn in turns] for side in range(len(options.checkout))],
    }
    medians = [statistics.median(seconds) for seconds in result["s"]]
    print(json.dumps(result | {"median_s": medians, "last_to_first": medians[-1] / medians[0]}, indent=1))


def state_dict(run: str) -> dict[str, torch.Tensor]:
    """The weights of a run, changed a little, as snnTorch stores them."""
    _, config, tensors = rundir.open_run(run)
    modules = {}
    for layer, neurons in zip(config.model.graph.weighted, config.model.graph.neurons, strict=True):
        shape = tensors[f"{layer.name}.weight"].shape
        kind = nn.Conv2d(shape[1], shape[0], shape[-1]) if len(shape) == 4 else nn.Linear(shape[1], shape[0])
        modules |= {layer.name: kind, neurons.name: Leaky(beta=config.model.beta)}
    draw = np.random.default_rng(0)
    changed = {name: value * (1 + 0.001 * draw.standard_normal(value.shape)) for name, value in tensors.items()}
    return nn.ModuleDict(modules).state_dict() | {
        name: torch.tensor(v, dtype=torch.float32) for name, v in changed.items()
    }


def timed(checkout: Path, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "csnn_torch.convert", f"{folder}/net.pt", "--out", f"{folder}/run", "--overwrite"]
    return start.timed(command, Path(folder), os.environ | {"PYTHONPATH": str(checkout.resolve())})


if __name__ == "__main__":
    main()
