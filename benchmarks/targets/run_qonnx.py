"""QONNX, the front end of FINN and hls4ml: cleans the step up, and runs it in its own executor. See common.py.

pip install qonnx onnx
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import common
import numpy as np
from common import Golden, run_steps
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.qcdq_to_qonnx import QCDQToQuant
from qonnx.util.cleanup import cleanup_model

IMAGES = 2  # the executor starts ONNX Runtime anew for every node


def cleaned(path: Path) -> ModelWrapper:
    """A model as QONNX wants it: shapes inferred, constants folded."""
    return cleanup_model(ModelWrapper(str(path)))


def compiled(path: Path) -> common.Step:
    """One time step in QONNX's executor."""
    model = cleaned(path)
    inputs = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]

    def step(frame: np.ndarray, membranes: list[np.ndarray]):
        found = execute_onnx(model, dict(zip(inputs, (frame, *membranes), strict=True)))
        return found[outputs[0]], [found[name] for name in outputs[1:]]

    return step


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    def run():
        few = golden._replace(images=golden.images[:IMAGES], spikes=golden.spikes[:, :IMAGES])
        different = run_steps(few, compiled(bundle / "step_b1.onnx")) != few.spikes
        return {"images": IMAGES, "different_spikes": f"{different.sum()} of {different.size}"}

    def quantised() -> dict:
        model = cleaned(bundle / "step_int8.onnx").transform(QCDQToQuant())
        return {"operators": sorted({node.op_type for node in model.graph.node})}

    yield "step_b1.onnx", "cleanup_model, looped in execute_onnx", run
    yield "step_int8.onnx", "cleanup_model, QCDQToQuant", quantised


if __name__ == "__main__":
    common.main(("qonnx", "onnx", "onnxruntime", "numpy"), trials)
