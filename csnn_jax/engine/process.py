"""Global settings of a process that trains or evaluates; other callers of the library are unaffected."""

import contextlib
import ctypes
import os
from pathlib import Path

import jax

from csnn_jax.errors import UserError, first_line
from csnn_jax.files import user_cache


def set_up(dtype: str) -> None:
    """Sets up the compilation cache (unless JAX_COMPILATION_CACHE_DIR is set, even if empty), and float64 if requested.

    Raises:
        UserError: JAX has no device, for example because JAX_PLATFORMS names a platform that isn't installed.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = user_cache("xla")
        _drop_empty(cache)
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Otherwise a step may begin before the previous one's memory is free, and sometimes need it twice.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    _keep_freed_memory()
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        platforms = f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        why = first_line(error) if str(error) else "its plugin isn't installed"
        raise UserError(f"{platforms}: JAX has no such device here, expected cpu: {why}") from None


def _drop_empty(cache: Path) -> None:
    """Removes empty entries, which a full disk leaves: JAX would warn about each one at every run."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(cache):
            if entry.is_file() and not entry.stat().st_size:
                os.unlink(entry)


def _keep_freed_memory() -> None:
    """Makes glibc, if present, reuse freed memory instead of returning it to the system.

    XLA frees and reallocates all of a step's memory, a gigabyte, at every step; the page faults took a tenth of a
    training iteration. (A single arena would cause even fewer, but XLA's threads would wait for its lock, which took
    just as long whenever compilation had fragmented the arena.)
    """
    mmap_max, trim_threshold = -4, -1  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, -1)  # never
