"""Compares time, memory and spikes of csnn_jax and snnTorch on the same GPU.

    python benchmarks/gpu.py > results/gpu.json

Prints JSON with the GPU's name. If JAX or torch finds no GPU, it says so on standard error and exits with 0. Without
`--run`, it first trains the default network for 60 iterations so it fires. `csnn_torch.compare.cost` describes the
measurements; the GPU must be otherwise idle.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from typing import Any

SIDES = ("scan", "snntorch", "snntorch channels last")
TURNS = 3  # per side
ITERATIONS = 60
FOUND = "import jax; print(jax.default_backend(), jax.devices()[0].device_kind, sep='|')"


@dataclass(frozen=True)
class Options:
    run: str | None
    rounds: int
    images: int


def main() -> int:
    options = arguments()
    card, missing = gpu()
    if missing:
        print(f"no GPU to measure: {missing}", file=sys.stderr)
        return 0
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # torch shares the card with JAX
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        result = measured(options, options.run or trained(folder))
    print(json.dumps({"command": "python benchmarks/gpu.py", "card": card} | result, indent=2))
    return 0


def arguments() -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="run directory of a trained network")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds in each turn")
    parser.add_argument("--images", type=int, default=1000, help="number of test images for comparing spikes")
    return Options(**vars(parser.parse_args()))


def gpu() -> tuple[str, str | None]:
    """(the GPU's name, why it can't be measured or None). JAX runs in another process, or it would hold the GPU."""
    done = subprocess.run([sys.executable, "-c", FOUND], capture_output=True, text=True, check=False)
    backend, _, card = (done.stdout.strip().splitlines() or [""])[-1].partition("|")
    if backend not in ("gpu", "cuda", "rocm"):
        return card, f"JAX runs on {backend or 'nothing'}; `pip install -e '.[cuda]'` if there is a GPU"
    import torch

    if not torch.cuda.is_available():
        return card, "torch finds no CUDA; install its CUDA build"
    return card, None


def trained(folder: str) -> str:
    """A run of the default network, trained briefly."""
    path = os.path.join(folder, "run")
    flags = ["--engine", "scan", "--max-iters", str(ITERATIONS), "--eval-every", "0", "--out", path]
    subprocess.run([sys.executable, "-m", "csnn_jax.train", *flags], check=True, stdout=sys.stderr)
    return path


def measured(options: Options, run: str) -> dict[str, Any]:
    """Measures costs first, in separate processes, then compares spikes in this one."""
    from csnn_jax import machine
    from csnn_jax.config import decided
    from csnn_jax.runs import rundir
    from csnn_torch.compare import cases, cost, same_network

    _, config, tensors = rundir.open_run(run)
    costs = {side.side: side for side in cost.measure(run, SIDES, TURNS, options.rounds)}
    case = cases.of_run(decided(config), tensors).first(options.images)
    compared = same_network.compare_spikes(case, ("scan",), "cuda")
    ours = costs["scan"]
    return {
        "commit": machine.commit(),
        **machine.describe(),
        "batch_size": config.train.batch_size,
        "time_steps": config.model.time_steps,
        "times_faster": {
            name: {"training": ours.speed(side, "step"), "inference": ours.speed(side, "infer")}
            for name, side in costs.items()
            if side is not ours and not side.failed and not ours.failed
        },
        "costs": {name: side.failed or figures(side.as_json()) for name, side in costs.items()},
        "spikes": [asdict(one) for one in compared],
    }


def figures(cost: dict[str, Any]) -> dict[str, Any]:
    """Everything except the predictions."""
    return {name: value for name, value in cost.items() if name != "predictions"}


if __name__ == "__main__":
    sys.exit(main())
