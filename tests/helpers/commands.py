"""Runs the command lines as a user does, each in a process of its own."""

import os
import subprocess
import sys
import tempfile

UNOPTIMISED = "--xla_backend_optimization_level=0"
"""For XLA_FLAGS: what `conftest.py` has the tests' own process compile with."""

FOUR_DEVICES = "--xla_force_host_platform_device_count=4"
"""For XLA_FLAGS: four virtual devices on the CPU."""

# One compilation cache for all of them, so that only the first run of a network compiles it.
_CACHE = tempfile.TemporaryDirectory(prefix="csnn-test-cache-")
ENVIRONMENT = os.environ | {
    "JAX_COMPILATION_CACHE_DIR": _CACHE.name,
    "JAX_PLATFORMS": "cpu",
    "COLUMNS": "200",
    "XLA_FLAGS": os.environ.get("XLA_FLAGS", "").replace(UNOPTIMISED, "").replace(FOUR_DEVICES, "").strip(),
}

SMALL = ("--conv-channels", "8", "16", "--hidden", "64", "--time-steps", "10")
"""A stack that compiles and trains in seconds."""


def start(module: str, *arguments: object, **options) -> subprocess.Popen:
    """Starts `python -m module arguments`."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    return subprocess.Popen(command, **(pipes | options))


def run(module: str, *arguments: object, **options) -> subprocess.CompletedProcess:
    """Runs `python -m module arguments` to its end."""
    process = start(module, *arguments, **options)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def refused(module: str, *arguments: object, **options) -> str:
    """Runs a command that must end with exit code 2 and one line on stderr; returns that line."""
    done = run(module, *arguments, **options)
    assert done.returncode == 2, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    return lines[0]
