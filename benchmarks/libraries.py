"""Compares the speed and bits of a wheel's event engine library with those of this checkout's; prints JSON.

    python benchmarks/libraries.py RUN WHEEL > results/libraries.json

WHEEL was made by .ci/release, which compiles its library with zig's clang; the checkout's comes from the system's
compiler. Both run the same package in separate processes that take turns, see `csnn_torch.compare.cost`. The machine
must be idle.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from csnn_jax import machine
from csnn_jax.engine import build
from csnn_torch.compare import cost

ROOT = Path(__file__).parents[1]
TURNS, ROUNDS = 3, 10
TINY = "--max-iters 30 --eval-every 0 --time-steps 25 --engine event"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run directory of a trained network")
    parser.add_argument("wheel", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with zipfile.ZipFile(options.wheel) as wheel:
            wheel.extract("csnn_jax/engine/native/libcsnn.so", folder)
        libraries = {"checkout": build.LIBRARY, "wheel": folder / "csnn_jax/engine/native/libcsnn.so"}
        places = {name: package(folder / name, library) for name, library in libraries.items()}
        bits = {weights(folder / f"run-{name}", place) for name, place in places.items()}
        seconds = timed(options.run, places)
    medians = {name: {what: statistics.median(each) for what, each in one.items()} for name, one in seconds.items()}
    result = {
        "command": f"python benchmarks/libraries.py RUN {options.wheel.name}",
        "commit": machine.commit(),
        **machine.describe(),
        "same_bits_after_30_iterations": len(bits) == 1,
        "seconds": {name: {what: round(value, 5) for what, value in one.items()} for name, one in medians.items()},
        "speed_of_the_wheel": {
            what: round(medians["checkout"][what] / medians["wheel"][what], 3) for what in medians["wheel"]
        },
    }
    print(json.dumps(result, indent=1))


def package(folder: Path, library: Path) -> Path:
    """Copies the packages with this library to a folder for PYTHONPATH."""
    for name in ("csnn_jax", "csnn_torch"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(library, folder / "csnn_jax/engine/native/libcsnn.so")
    return folder


def weights(out: Path, place: Path) -> bytes:
    """The weights after a short training run."""
    command = [sys.executable, "-m", "csnn_jax.train", *TINY.split(), "--out", str(out)]
    subprocess.run(command, check=True, cwd=place, stdout=subprocess.DEVNULL)
    return (out / "weights.safetensors").read_bytes()


def timed(run: str, places: dict[str, Path]) -> dict[str, dict[str, list[float]]]:
    """Seconds of training iterations and inference batches, by library."""
    found: dict[str, dict[str, list[float]]] = {name: {"training": [], "inference": []} for name in places}
    for _ in range(TURNS):
        for name, place in places.items():
            process = cost.Process(str(Path(run).resolve()), "event", PYTHONPATH=str(place))
            asked: dict[str, Any] = {"inference": "infer", "training": "step"}
            for what, question in asked.items():
                process.ask(question)
                found[name][what] += [process.ask(question)["seconds"] for _ in range(ROUNDS)]
            process.close()
    return found


if __name__ == "__main__":
    main()
