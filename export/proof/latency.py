"""Measures the latency of one call of each file: one thread, a batch of one."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.graphs import few_bits
from export.proof import runners

CALLS = 1000


def of(call: Callable[[], object], seconds: float) -> dict[str, Any]:
    """Median and 99th percentile of up to `CALLS` calls within `seconds`, after a tenth of that time as warm-up."""
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
    """Latency of one call of an ONNX file in ONNX Runtime, with its first inputs set to `inputs`.

    For low-bit weights, this includes `dequantizing_ms`, the median if they are dequantized at every call.
    """
    model = onnx.load(path)

    def measured(dequantize_once: bool) -> dict[str, Any]:
        session = runners.session(model, 1, dequantize_once)
        feed = dict(zip([value.name for value in session.get_inputs()], inputs, strict=False))
        return of(lambda: session.run(None, feed), seconds)

    found = measured(dequantize_once=True)
    if few_bits.is_packed(model):
        found["dequantizing_ms"] = measured(dequantize_once=False)["median_ms"]
    return found
