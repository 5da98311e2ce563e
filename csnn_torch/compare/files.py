"""The comparison as files: comparison.json for machines, comparison.md and comparison.png for readers."""

import json
import platform
import subprocess
import tempfile
from collections.abc import Collection
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_torch.compare import figure, report
from csnn_torch.compare.comparison import Comparison, Origin
from csnn_torch.compare.cost import cpus

NAME = "comparison.json"
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
    """The processor's name, with its family and model, since a name such as "AMD EPYC" stands for many."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else ()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in fields:
        return platform.processor()
    return f"{fields['model name']}, family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"


def commit() -> str | None:
    """The commit of this code, with "-dirty" where a file of it is changed; None outside a repository."""
    here = Path(__file__)
    try:
        for command in (
            ["ls-files", "--error-unmatch", here.name],
            ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        ):
            done = subprocess.run(["git", "-C", str(here.parent), *command], capture_output=True, text=True)
            if done.returncode:
                return None
    except OSError:  # no git
        return None
    return done.stdout.strip()


def folder(out: str) -> Path:
    """Makes the directory for the results.

    Raises:
        UserError: it can't be made or written, or is a run directory.
    """
    path = Path(out)
    if (path / "config.json").exists():
        raise UserError(f"--out {out}: is a run directory, expected one for the comparison's files")
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise UserError(f"--out {out}: can't be made or written: {error.strerror}") from None
    return path


def write(found: Comparison, out: Path) -> None:
    """Writes the three files.

    Raises:
        UserError: the disk is full.
    """
    write_atomic(out / NAME, json.dumps(found.as_json(), indent=1).encode())
    write_atomic(out / "comparison.png", figure.draw(found.trajectories, found.costs))
    write_atomic(out / "comparison.md", "\n".join(report.lines(found)).encode())


def keep(found: Comparison, out: Path, questions: Collection[str]) -> None:
    """Takes over what an earlier command found out about these weights, but for the `questions`; says so."""
    path = out / NAME
    try:
        kept = found.keep(json.loads(path.read_text()), questions)
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        print(f"{path}: not a comparison of these weights, it will be replaced", flush=True)
        return
    if kept:
        print(f"{path}: its answers are kept: {', '.join(kept)}", flush=True)


def origin(command: str, seconds: float) -> Origin:
    """Of an answer that this process has found."""
    return Origin(command, commit(), date.today().isoformat(), round(seconds, 1), machine())
