"""Creates separate virtual environments for libraries with pip, without CUDA builds of torch."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CUDA = ("nvidia-", "cuda-", "triton")
"""Prefixes of packages that only CUDA builds of torch need, and that take gigabytes."""
NEWER = ("python3.14", "python3.13", "python3.12")
"""Names of newer Pythons than this process's."""


class Unavailable(Exception):
    """There is no environment; the message says why in a few words."""


def environment(folder: Path, installs: Sequence[str], oldest: tuple[int, int]) -> str:
    """The Python of an environment with these packages; reuses an environment that was completed before.

    Args:
        folder: the environment's folder.
        installs: the packages to install.
        oldest: the oldest Python that they support.

    Raises:
        Unavailable: there is no such Python, or pip can't install the packages or would download a CUDA build.
    """
    python, finished = folder / "bin/python", folder / "installed.json"
    if finished.exists() and json.loads(finished.read_text()) == list(installs):
        return str(python)
    _run([interpreter(oldest), "-m", "venv", "--clear", str(folder)])
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    refuse_cuda(json.loads(_run([*pip, "--dry-run", "--report", "-", *installs])))
    _run([*pip, *installs])
    finished.write_text(json.dumps(list(installs)))
    return str(python)


def interpreter(oldest: tuple[int, int]) -> str:
    """A Python of at least this version: this process's, or another one on the system.

    Raises:
        Unavailable: there is none.
    """
    if sys.version_info >= oldest:
        return sys.executable
    needed = ".".join(map(str, oldest))
    for python in filter(None, map(shutil.which, NEWER)):
        check = f"import sys, venv; sys.exit(sys.version_info < {oldest})"
        if subprocess.run([python, "-c", check], capture_output=True).returncode == 0:
            return python
    raise Unavailable(f"needs Python {needed}, which isn't installed")


def refuse_cuda(report: dict[str, Any]) -> None:
    """Checks what pip would install.

    Raises:
        Unavailable: it includes a package that only CUDA builds of torch need.
    """
    names = [one["metadata"]["name"].lower() for one in report["install"]]
    if unwanted := [name for name in names if name.startswith(CUDA)]:
        raise Unavailable(
            f"pip would install {unwanted[0]} for CUDA; set PIP_FIND_LINKS to a folder with torch for CPUs"
        )


def _run(command: Sequence[str]) -> str:
    """The output of a command.

    Raises:
        Unavailable: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(last_error(done.stderr) or f"{Path(command[0]).name} ended with code {done.returncode}")
    return done.stdout


def last_error(errors: str) -> str:
    """The last line of a program's errors with the word "error", or else the last line; at most 200 characters."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    said = [line for line in lines if "error" in line.lower()]
    return (said or lines or [""])[-1][:200]
