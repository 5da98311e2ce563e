"""Runs command lines, either in a separate process like a user or through their `main` in this one."""

import contextlib
import importlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

EMITTERS = {"xla_cpu_use_fusion_emitters": True} if version("jax") < "0.12" else {}
"""An XLA option at its default, which newer versions don't have."""

UNOPTIMISED = " ".join(
    (
        "--xla_backend_optimization_level=0",
        *(f"--{option}=false" for option in EMITTERS),
        "--xla_cpu_parallel_codegen_split_count=1",
    )
)
"""For XLA_FLAGS: compiles ten times as fast, and compiling is most of the time of a test that computes little."""

FOUR_DEVICES = "--xla_force_host_platform_device_count=4"
"""For XLA_FLAGS: four virtual devices on the CPU."""

# Workers and their commands share a cache, which their parent makes and removes, except for what takes long to fetch.
if "CSNN_TEST_CACHE" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="csnn-test-cache-")
    os.environ["CSNN_TEST_CACHE"] = _CACHE.name
    for name in ("csnn_jax/npm", "matplotlib"):
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", name)
        folder.mkdir(parents=True, exist_ok=True)
        link = Path(_CACHE.name, name)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(folder)
_USERS_FLAGS = os.environ.get("XLA_FLAGS", "").replace(UNOPTIMISED, "").replace(FOUR_DEVICES, "").strip()
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")} | {
    "JAX_COMPILATION_CACHE_DIR": os.path.join(os.environ["CSNN_TEST_CACHE"], "xla"),
    "XDG_CACHE_HOME": os.environ["CSNN_TEST_CACHE"],
    "JAX_PLATFORMS": "cpu",
    "COLUMNS": "200",
    "XLA_FLAGS": f"{_USERS_FLAGS} {UNOPTIMISED}".strip(),
}
"""The environment of a command in a separate process."""

OPTIMISED = ENVIRONMENT | {"XLA_FLAGS": _USERS_FLAGS}
"""The environment of a command that is compiled as for a user."""

SMALL = ("--conv-channels", "8", "16", "--hidden", "64", "--time-steps", "10")
"""A stack that compiles and trains in seconds."""


def start(module: str, *arguments: object, **options) -> subprocess.Popen:
    """Starts `python -m module arguments`."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    return subprocess.Popen(command, **(pipes | options))


def run(module: str, *arguments: object, **options) -> subprocess.CompletedProcess:
    """Runs `python -m module arguments` and waits for it."""
    process = start(module, *arguments, **options)
    out, err = process.communicate(timeout=900)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def call(module: str, *arguments: object, cwd: str | os.PathLike = ".") -> subprocess.CompletedProcess:
    """Like `run`, but through the module's `main` in this process, which saves the imports."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    is_package = spec.submodule_search_locations is not None
    words = [str(argument) for argument in arguments]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = importlib.import_module(f"{module}.__main__" if is_package else module).main(words)
        except SystemExit as end:  # from --help
            code = end.code
    return subprocess.CompletedProcess(
        [module, *words], code, *(stream.buffer.getvalue().decode() for stream in (out, err))
    )


def passed(module: str, *arguments: object, cwd: str | os.PathLike = ".") -> str:
    """Calls a command that must succeed; returns what it printed."""
    done = call(module, *arguments, cwd=cwd)
    assert done.returncode == 0, done
    return done.stdout


def passed_by_process(module: str, *arguments: object, **options) -> str:
    """`passed` in a separate process."""
    done = run(module, *arguments, **options)
    assert done.returncode == 0, done
    return done.stdout
