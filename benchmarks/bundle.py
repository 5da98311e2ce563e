"""Times making a bundle of a run and verifying it, by how much is checked.

    python benchmarks/bundle.py RUN > results/bundle.json

Prints JSON: for `--quick` and no flag, seconds of processor time of `export` and `export.verify` with
their imports, what the latter printed, and the latency of each file.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from csnn_jax import machine

EXTENTS = ("--quick", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    options = parser.parse_args()
    rows = [measured(options.run, extent) for extent in EXTENTS]
    head = {"command": "python benchmarks/bundle.py RUN", "commit": machine.commit(), **machine.describe()}
    print(json.dumps(head | {"rows": rows}, indent=1))


def measured(run: Path, extent: str) -> dict[str, Any]:
    """Makes and verifies a bundle. Raises CalledProcessError if something differs."""
    flags = extent.split()
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        export_s, _ = spent("export", str(run), "--out", str(bundle), *flags)
        verify_s, output = spent("export.verify", str(bundle), *flags)
        latency = json.loads((bundle / "manifest.json").read_text())["statements"]["latency"]
    print(f"{extent or 'no flag'}: {export_s:.0f} and {verify_s:.0f} s", file=sys.stderr, flush=True)
    return {
        "flag": extent,
        "export_processor_s": round(export_s, 1),
        "verify_processor_s": round(verify_s, 1),
        "verified": [line for line in output.splitlines() if not line.startswith("latency")],
        "latency": latency,
    }


def spent(module: str, *arguments: str) -> tuple[float, str]:
    """Processor seconds of a command with its child processes, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", module, *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, output


if __name__ == "__main__":
    main()
