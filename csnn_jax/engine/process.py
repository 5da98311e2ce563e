"""What a process that trains or evaluates sets for the whole of itself; a library's caller is left alone."""

import contextlib
import ctypes
import os
from pathlib import Path

import jax

from csnn_jax.errors import UserError, first_line
from csnn_jax.files import user_cache


def set_up(dtype: str) -> None:
    """Compilation cache on disk (unless JAX_COMPILATION_CACHE_DIR says where, or is empty), and float64 if asked.

    Raises:
        UserError: JAX has no device, as where JAX_PLATFORMS names a platform that is not installed.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = user_cache("xla")
        _drop_empty(cache)
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Else a step may begin before the memory of the one before it is free, and one day needs it twice.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    _keep_freed_memory()
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the second where a plugin is not there
        platforms = f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        raise UserError(f"{platforms}: JAX has no such device here, expected cpu: {first_line(error)}") from None


def _drop_empty(cache: Path) -> None:
    """Removes entries without a byte, which a full disk left: JAX would warn of each one at every run."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(cache):
            if entry.is_file() and not entry.stat().st_size:
                os.unlink(entry)


def _keep_freed_memory() -> None:
    """Has glibc reuse freed memory, where there is glibc, instead of handing it back to the system.

    XLA frees and asks again for all of a step's memory, a gigabyte, at every step; the page faults of touching it anew
    took a tenth of a training iteration. (With a single arena they would be rarer still, but XLA's threads would wait
    for its lock, which took as long wherever compilation had left the arena in pieces.)
    """
    mmap_max, trim_threshold = -4, -1  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, -1)  # never
