"""Apache TVM: compiles the step for this CPU and runs it. See common.py.

pip install apache-tvm onnx
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import common
import numpy as np
import onnx
import tvm
from common import Golden, run_steps
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx


def compiled(path: Path) -> common.Step:
    """One time step as a function compiled by TVM."""
    machine = relax.VirtualMachine(tvm.compile(from_onnx(onnx.load(path)), target=tvm.target.Target("llvm")), tvm.cpu())

    def step(frame: np.ndarray, membranes: list[np.ndarray]):
        spikes, *new = machine["main"](*map(tvm.runtime.tensor, (frame, *membranes)))
        return spikes.numpy(), [value.numpy() for value in new]

    return step


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    for name in ("step_b1.onnx", "step.onnx"):
        yield name, "compiled for llvm, looped", lambda name=name: run_steps(golden, compiled(bundle / name))

    def whole():
        machine = relax.VirtualMachine(
            tvm.compile(from_onnx(onnx.load(bundle / "sequence.onnx")), target=tvm.target.Target("llvm")), tvm.cpu()
        )
        return np.concatenate([machine["main"](tvm.runtime.tensor(x[None]))[1].numpy() for x in golden.images], axis=1)

    yield "sequence.onnx", "compiled for llvm", whole


if __name__ == "__main__":
    common.main(("apache-tvm", "onnx", "numpy"), trials)
