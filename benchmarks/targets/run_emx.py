"""emmtrix's ONNX-to-C compiler (similar to onnx2c): the step as C, built with the system's compiler. See common.py.

pip install emx-onnx-cgen onnx
"""

import ctypes
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import common
import numpy as np
from common import Golden, run_steps


def compiled(path: Path, golden: Golden, folder: Path) -> common.Step:
    """One time step as a function in a library built from the generated C."""
    source = folder / "step.c"
    tool = Path(sys.executable).parent / "emx-onnx-cgen"
    whole = ("--large-weight-threshold", "0", "--large-temp-threshold", "0", "--emit-data-file")  # no file, no heap
    batch = () if path.name == "step_b1.onnx" else ("--input-dim", "N=1")
    call(tool, "compile", *whole, *batch, path, source)
    build = ("cc", "-std=c99", "-O2", "-ffp-contract=off", "-shared", "-fPIC")
    call(*build, *folder.glob("*.c"), "-o", folder / "step.so", "-lm")
    library = ctypes.CDLL(str(folder / "step.so"))

    def step(frame: np.ndarray, membranes: list[np.ndarray]):
        spikes = np.empty((1, golden.spikes.shape[-1]), np.float32)
        new = [np.empty_like(membrane) for membrane in membranes]
        arrays = [np.ascontiguousarray(a) for a in (frame, *membranes)] + [spikes, *new]
        library.model(*(array.ctypes.data_as(ctypes.c_void_p) for array in arrays))
        return spikes, new

    return step


def call(*command: object) -> None:
    """Runs a command; if it fails, the error is its last line of output."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    for name in ("step_b1.onnx", "step.onnx"):

        def run(name: str = name) -> np.ndarray:
            with tempfile.TemporaryDirectory() as folder:
                return run_steps(golden, compiled(bundle / name, golden, Path(folder)))

        yield name, "compiled to C99 without heap, built, looped", run


if __name__ == "__main__":
    common.main(("emx-onnx-cgen", "onnx", "numpy"), trials)
