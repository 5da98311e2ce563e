"""snn-mlir: from NIR to its MLIR dialect. Its compiler, snn-opt, is in no package index: nothing is run. See common.py.

pip install snn-mlir onnx
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import common
import snn_mlir
from common import Golden


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    path = bundle / "network.nir"

    def check() -> dict:
        report = snn_mlir.check(path)
        return {"supported": report.ok, "findings": [finding.message for finding in report.findings]}

    def convert() -> dict:
        text = snn_mlir.to_mlir(path)
        neurons = re.findall(r"decay_float = (\S+) .*threshold_float = (\S+) .*v_reset_float = (\S+) ", text)
        operations = sorted(set(re.findall(r"\bsnn\.\w+", text)))
        found = [dict(zip(("decay", "threshold", "v_reset"), map(float, values), strict=True)) for values in neurons]
        return {"bytes": len(text), "operations": operations, "neurons": found}

    def toolchain() -> dict:
        snn_mlir._run.resolve_toolchain()
        return {"toolchain": "complete"}

    yield "network.nir", "snn_mlir.check", check
    yield "network.nir", "snn_mlir.to_mlir", convert
    yield "network.nir", "the compiler that runs it", toolchain


if __name__ == "__main__":
    common.main(("snn-mlir", "nir", "numpy"), trials)
