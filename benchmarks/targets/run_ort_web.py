"""ONNX Runtime Web: its WebAssembly build, in Node. See common.py.

pip install onnx
npm install --prefix DIR onnxruntime-web, and NODE_PATH=DIR/node_modules
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import common
import numpy as np
from common import Golden

SCRIPT = Path(__file__).parent / "ort_web.cjs"


def run(model: Path, golden: Golden) -> dict:
    """The output of ort_web.cjs: the version of ONNX Runtime Web, and spikes [N, T * classes]."""
    case = {
        "sequence": model.name == "sequence.onnx",
        "steps": len(golden.spikes),
        "shape": [1, *golden.images.shape[1:]],
        "membranes": [membrane.shape for membrane in golden.membranes],
        "images": golden.images.reshape(len(golden.images), -1).tolist(),
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(case, file)
        file.flush()
        done = subprocess.run(["node", SCRIPT, model, file.name], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    versions = set()

    def spikes(name: str) -> np.ndarray:
        output = run(bundle / name, golden)
        versions.add(output["version"])
        steps, count, classes = golden.spikes.shape
        return np.array(output["spikes"], np.float32).reshape(count, steps, classes).swapaxes(0, 1)

    for name in ("step.onnx", "step_b1.onnx", "sequence.onnx"):
        yield name, "WebAssembly, one thread", lambda name=name: spikes(name)
    yield "", "version of onnxruntime-web", lambda: {"onnxruntime-web": sorted(versions)}


if __name__ == "__main__":
    common.main(("onnx", "numpy"), trials)
