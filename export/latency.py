"""How long one call of each file takes: one thread, a batch of one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from export.manifest import Manifest
from export.proof import network, runners
from export.subject import Subject

CALLS = 1000


@dataclass(frozen=True)
class Timing:
    """How a call of a file is timed.

    Attributes:
        call: what a call is.
        measure: (bundle, name of the file, seconds) to its latency, see `of`; on the first test image.
        run_by: what runs it, for the report.
    """

    call: Literal["one step", "whole window"]
    measure: Callable[[Subject, str, float], dict[str, Any]]
    run_by: Callable[[Manifest], str]

    @property
    def whole_window(self) -> bool:
        """Whether one call is enough for an image."""
        return self.call == "whole window"


def of(call: Callable[[], object], seconds: float) -> dict[str, Any]:
    """Median and 99th percentile of up to `CALLS` calls, or as many as `seconds` allow, after a tenth of that time."""
    times: list[float] = []
    warm = time.perf_counter() + seconds / 10
    while time.perf_counter() < warm:
        call()
    end = time.perf_counter() + seconds
    while len(times) < CALLS and (time.perf_counter() < end or not times):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    median, p99 = np.percentile(times, (50, 99)) * 1e3
    return {"median_ms": round(float(median), 4), "p99_ms": round(float(p99), 4), "calls": len(times)}


def of_onnx(path: Path, inputs: Sequence[np.ndarray], seconds: float) -> dict[str, Any]:
    """Latency of one call of an ONNX file in ONNX Runtime, with its first inputs set to these."""
    session = runners.session(onnx.load(path), threads=1)
    feed = dict(zip([value.name for value in session.get_inputs()], inputs, strict=False))
    return of(lambda: session.run(None, feed), seconds)


def _step(subject: Subject, name: str, seconds: float) -> dict[str, Any]:
    frame = next(network.frames(subject.few(1), subject.time_steps)).numpy()
    return of_onnx(subject.folder / name, [frame, *runners.zeros(subject.config.model, 1)], seconds)


def _window(subject: Subject, name: str, seconds: float) -> dict[str, Any]:
    return of_onnx(subject.folder / name, [subject.few(1).numpy()], seconds)


def _by_onnxruntime(manifest: Manifest) -> str:
    return f"the ONNX files in ONNX Runtime\n{manifest['made']['versions']['onnxruntime']}"


ONNX_STEP = Timing("one step", _step, _by_onnxruntime)
ONNX_WINDOW = Timing("whole window", _window, _by_onnxruntime)
