"""Writes a demonstration's folder: the page, the network and ONNX Runtime Web."""

from importlib import resources
from pathlib import Path

from csnn_jax.files import write_atomic
from export.bundle import Kind
from export.demo import facts
from export.demo.facts import DemoInputs
from export.demo.ort_web import Runtime

KIND = Kind("demonstration", facts.FACTS)
RUNTIME = "ort"
"""Folder of ONNX Runtime Web."""


def write(folder: Path, source: DemoInputs, runtime: Runtime) -> int:
    """Fills an empty folder; returns its size in bytes.

    Raises:
        UserError: a file can't be written.
    """
    contents = page() | facts.files(source, runtime.version)
    contents |= {f"{RUNTIME}/{name}": data for name, data in runtime.files.items()}
    (folder / RUNTIME).mkdir()
    for name, data in contents.items():
        write_atomic(folder / name, data)
    return sum(map(len, contents.values()))


def page() -> dict[str, bytes]:
    """The page's files that are the same for every bundle."""
    shared = resources.files("csnn_jax.document") / "spikes.js"  # also in reports of runs
    paths = [*(resources.files("export.demo") / "static").iterdir(), shared]
    return {path.name: path.read_bytes() for path in paths}
