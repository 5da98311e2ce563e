"""Shared by the scripts in this folder: they take a bundle's golden images and print one JSON object.

Each script runs one tool on a bundle made by `python -m export` and compares spikes:

    python -m venv .tvm && .tvm/bin/pip install apache-tvm onnx
    .tvm/bin/python benchmarks/targets/run_tvm.py BUNDLE > results/targets/tvm.json

It needs the tool, NumPy and onnx (which reads the golden tensors), which a deployment engineer has. From this project
it imports only `csnn_jax.machine`, from the clone with the script.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, numpy_helper

sys.path.append(str(Path(__file__).parents[2]))  # last, so the clone doesn't hide the tool's packages
from csnn_jax import machine

NETWORK = ("conv_channels", "hidden", "pool", "pool_after", "neuron", "reset", "alpha", "beta")
NETWORK += ("time_steps", "weight_bits")
Step = Callable[[np.ndarray, list[np.ndarray]], tuple[np.ndarray, list[np.ndarray]]]
"""One time step: (frame [1, C, H, W], membranes) -> (spikes [1, classes], membranes)."""


class Golden(NamedTuple):
    """A bundle's real test images and our network's output for them.

    Attributes:
        images: float32 [N, C, H, W], each shown at every step.
        spikes: spikes of the last layer [T, N, classes].
        membranes: U[-1], zeros, one array [1, ...] per layer.
    """

    images: np.ndarray
    spikes: np.ndarray
    membranes: list[np.ndarray]


def read_golden(bundle: Path) -> Golden:
    """Reads golden/sequence, and the initial membranes of golden/step."""
    folders = sorted((bundle / "golden/sequence").iterdir(), key=lambda path: int(path.name.rpartition("_")[2]))
    images = [_tensor(folder / "input_0.pb") for folder in folders]
    if images[0].ndim != 4:
        raise SystemExit(f"{bundle}: expected a bundle with direct encoding, one image per window")
    first = bundle / "golden/step/test_data_set_0"
    membranes = [_tensor(first / f"input_{n}.pb") for n in range(1, len(list(first.glob("input_*.pb"))))]
    spikes = np.concatenate([_tensor(folder / "output_1.pb") for folder in folders], axis=1)
    return Golden(np.concatenate(images), spikes, membranes)


def run_steps(golden: Golden, step: Step) -> np.ndarray:
    """Runs a one-step program over every image's window: spikes [T, N, classes]."""
    spikes = np.empty_like(golden.spikes)
    for number, image in enumerate(golden.images):
        membranes = golden.membranes
        for t in range(len(spikes)):
            out, membranes = step(image[None], membranes)
            spikes[t, number] = out[0]
    return spikes


def run_stateful(module: Callable, golden: Golden) -> np.ndarray:
    """Runs a torch module (x, state) -> (spikes, state) over the window for a batch: spikes [T, N, classes]."""
    import torch

    x, state, spikes = torch.from_numpy(golden.images), None, []
    with torch.no_grad():
        for _ in range(len(golden.spikes)):
            out, state = module(x, state)
            spikes.append(out.numpy())
    return np.stack(spikes)


def run_example(bundle: Path, golden: Golden, name: str) -> dict[str, Any]:
    """Runs the example `name` in report.md, which classifies the first image.

    Raises:
        RuntimeError: it fails, or prints a different class or different counts.
    """
    (code,) = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", (bundle / "report.md").read_text(), re.S)
    done = subprocess.run([sys.executable, "-c", code], cwd=bundle, capture_output=True, text=True, check=False)
    counts = golden.spikes[:, 0].sum(0)
    printed = [float(one) for one in re.findall(r"\d+(?:\.\d*)?", done.stdout)[-len(counts) - 1 :]]
    if done.returncode or printed != [counts.argmax(), *counts]:
        raise RuntimeError(f"{(done.stderr or done.stdout)[-200:]}, expected {counts.argmax()} and {counts.tolist()}")
    return {"first_image": "the class and counts of golden/"}


def main(
    packages: tuple[str, ...], trials: Callable[[Path, Golden], Iterator[tuple[str, str, Callable[[], Any]]]]
) -> None:
    """Runs a script's trials and prints the results.

    Args:
        packages: distributions whose versions to report.
        trials: yields (file in the bundle, description, function). The function returns spikes [T, N, classes] to
            compare with the golden ones, or a dictionary of results; it raises an error if the tool fails.
    """
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: {Path(sys.argv[0]).name} BUNDLE")
    bundle, stdout = Path(sys.argv[1]), os.dup(1)
    os.dup2(2, 1)  # the tools print on standard output
    golden = read_golden(bundle)
    config = json.loads((bundle / "config.json").read_text())["model"]
    result = {
        "command": f"python benchmarks/targets/{Path(sys.argv[0]).name} BUNDLE",
        "commit": machine.commit(),
        "processor": machine.processor(),
        "python": platform.python_version(),
        "versions": machine.versions(packages),
        "network": {name: config[name] for name in NETWORK},
        "weights_sha256": hashlib.sha256((bundle / "weights.safetensors").read_bytes()).hexdigest(),
        "golden_images": len(golden.images),
        "output_spikes": int(golden.spikes.sum()),
        "trials": [_try(golden, *trial) for trial in trials(bundle, golden)],
    }
    os.write(stdout, (json.dumps(result, indent=2) + "\n").encode())


def _try(golden: Golden, file: str, what: str, function: Callable[[], Any]) -> dict[str, Any]:
    print(f"{file}: {what}", file=sys.stderr)
    record: dict[str, Any] = {"file": file, "what": what}
    try:
        answer = function()
    except Exception as error:  # any error is the tool's answer
        traceback.print_exc()
        return record | {"refused": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}
    if isinstance(answer, dict):
        return record | answer
    different = answer != golden.spikes
    counts = answer.sum(0) != golden.spikes.sum(0)
    classes = answer.sum(0).argmax(1) != golden.spikes.sum(0).argmax(1)
    return record | {
        "different_spikes": f"{different.sum()} of {different.size}",
        "different_counts": f"{counts.sum()} of {counts.size}",
        "different_classes": f"{classes.sum()} of {classes.size}",
    }


def _tensor(path: Path) -> np.ndarray:
    return numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))
