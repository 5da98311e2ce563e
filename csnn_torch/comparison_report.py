"""The comparison as files: comparison.json for machines, comparison.md and comparison.png for readers."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_torch import comparison_picture, comparison_text
from csnn_torch.comparison import Comparison
from csnn_torch.cost import cpus

VERSIONS = ("jax", "jaxlib", "flax", "optax", "torch", "snntorch", "numpy")


def machine() -> dict[str, Any]:
    """Where it was measured: processor, CPUs, versions."""
    return {
        "processor": processor(),
        "cpus": cpus(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
    }


def processor() -> str:
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def write(found: Comparison, out: Path) -> None:
    """Writes the three files.

    Raises:
        UserError: the directory can't be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: can't be made: {error.strerror}") from None
    write_atomic(out / "comparison.json", json.dumps(_values(found), indent=1).encode())
    write_atomic(out / "comparison.png", comparison_picture.draw(found.trajectories, found.costs))
    write_atomic(out / "comparison.md", "\n".join(comparison_text.lines(found, _values(found))).encode())


def _values(found: Comparison) -> dict[str, Any]:
    parts = ("spikes", "gradients", "trajectories", "costs")
    return {
        "command": f"python -m csnn_torch.compare {found.arguments}".rstrip(),
        "machine": machine(),
        **{part: [result.as_json() for result in getattr(found, part)] for part in parts},
        "bounds": len(found.checks),
        "broken": [str(check) for check in found.broken],
    }
