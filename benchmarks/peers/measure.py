"""Measures one library on one job, in a separate process and an environment that may not have csnn_jax.

    python -P measure.py LIBRARY VARIANT ROUNDS JOB OUT BEGAN

LIBRARY is the name of a file in this folder without its suffix, such as snntorch; -P keeps it from hiding the package
with the same name. At least ROUNDS iterations and inference batches are timed, each for at least a second. JOB is the
.npz file from peers.py. OUT is the folder for figures.json and spikes.npy, and BEGAN the Unix time when the process was
started.

A library's file has PACKAGES, whose versions are reported, DIFFERS and ADVICE, which are shown in the tables, and

    build(job) -> step, infer

with a new network and optimizer. `step(images, labels)` runs a training iteration and returns the loss, and
`infer(images)` returns the output spikes [time, batch, classes] as a NumPy array. Images are bytes [batch, 28, 28], to
be divided by 256. If a library's inference doesn't keep spikes, it returns a third function that does.
"""

import importlib.util
import itertools
import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SECONDS = 1.0
"""Shortest total time of the rounds, as in csnn_torch/compare/cost.py: on shared machines, medians of less vary."""
LAYERS = ("conv1", "conv2", "fc1", "fc2")


@dataclass(frozen=True)
class Job:
    """A library's task.

    Attributes:
        variant: which of the library's rows to run.
        time_steps, threads, learning_rate: the job's settings.
        images, labels: training batches: bytes [batches, batch, 28, 28], and [batches, batch].
        test: the images of the inference batch [batch, 28, 28].
        layers: weights and biases of each layer in torch's layout.
    """

    variant: str
    time_steps: int
    threads: int
    learning_rate: float
    images: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    layers: list[tuple[np.ndarray, np.ndarray]]

    @classmethod
    def read(cls, path: Path, variant: str) -> "Job":
        with np.load(path) as arrays:
            layers = [(arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in LAYERS]
            numbers = int(arrays["time_steps"]), int(arrays["threads"]), float(arrays["learning_rate"])
            return cls(variant, *numbers, arrays["images"], arrays["labels"], arrays["test"], layers)

    @property
    def channels_last(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Kernels [k, k, in, out] or [in, out], with flattened images in H, W, C order, and biases."""
        conv1, conv2, (weight, bias), fc2 = self.layers
        image = weight.reshape(len(weight), len(conv2[1]), 7, 7).transpose(2, 3, 1, 0).reshape(-1, len(weight))
        windows = [(kernel.transpose(2, 3, 1, 0), biases) for kernel, biases in (conv1, conv2)]
        return [*windows, (image, bias), (fc2[0].T, fc2[1])]


def main(library: str, variant: str, rounds: str, path: str, out: str, began: str) -> None:
    job = Job.read(Path(path), variant)
    if sys.platform == "linux":  # XLA starts one thread per CPU
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
    module, machine = load(HERE / f"{library}.py"), load(HERE.parents[1] / "csnn_jax/machine.py")
    step, *_ = module.build(job)
    first, *others = zip(job.images, job.labels, strict=True)
    step(*first)
    started = time.time() - float(began)
    figures: dict[str, Any] = {"first_iteration_s": started, "step": timed(step, others, int(rounds))}
    _, infer, *traces = module.build(job)  # with the job's weights
    for run in [infer, *traces]:
        spikes = run(job.test)
    figures["infer"] = timed(infer, [(job.test,)], int(rounds))
    figures |= {"peak_memory_mb": machine.peak_memory_mb(), "whole_process_s": sum(os.times()[:4])}
    figures |= {"python": platform.python_version(), "versions": machine.versions(module.PACKAGES)}
    np.save(Path(out) / "spikes.npy", np.asarray(spikes, np.float32))
    figures |= {"differs": module.DIFFERS, "advice": module.ADVICE}
    (Path(out) / "figures.json").write_text(json.dumps(figures))


def load(path: Path) -> ModuleType:
    """Loads a module from its file, under a name that no package has."""
    spec = importlib.util.spec_from_file_location(f"measured_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def timed(work: Any, arguments: list[tuple[Any, ...]], rounds: int) -> dict[str, list[float]]:
    """Wall-clock seconds and CPU seconds of each call; the calls go through the arguments in turn."""
    clock: list[float] = []
    processor: list[float] = []
    for one in itertools.cycle(arguments):
        began, used = time.perf_counter(), time.process_time()
        work(*one)
        clock.append(round(time.perf_counter() - began, 6))
        processor.append(round(time.process_time() - used, 6))
        if len(clock) >= rounds and sum(clock) >= SECONDS:
            break
    return {"clock": clock, "processor": processor}


if __name__ == "__main__":
    main(*sys.argv[1:])
