"""ONNX Runtime's format for mobile devices (.ort): converted, then run in the desktop's runtime. See common.py.

pip install onnxruntime onnx
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copy

import common
import numpy as np
import onnxruntime
from common import Golden, run_steps


def converted(model: Path, folder: Path) -> onnxruntime.InferenceSession:
    """A session of the model in ORT format."""
    copy(model, folder)
    command = (sys.executable, "-m", "onnxruntime.tools.convert_onnx_models_to_ort", folder)
    done = subprocess.run([*command, "--optimization_style", "Fixed"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(folder / f"{model.stem}.ort", options)


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    def looped(name: str) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            session = converted(bundle / name, Path(folder))
        names = [value.name for value in session.get_inputs()]

        def step(frame: np.ndarray, membranes: list[np.ndarray]):
            spikes, *new = session.run(None, dict(zip(names, (frame, *membranes), strict=True)))
            return spikes, new

        return run_steps(golden, step)

    def whole() -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            session = converted(bundle / "sequence.onnx", Path(folder))
        return session.run(None, {session.get_inputs()[0].name: golden.images})[1]

    for name in ("step.onnx", "step_b1.onnx"):
        yield name, "converted to .ort, looped", lambda name=name: looped(name)
    yield "sequence.onnx", "converted to .ort", whole


if __name__ == "__main__":
    common.main(("onnxruntime", "onnx", "numpy"), trials)
