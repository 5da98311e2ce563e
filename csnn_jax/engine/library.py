"""Loads the library of the event engine's kernels and registers its operations with XLA."""

import ctypes
import functools

import jax

from csnn_jax.engine import build

OPERATIONS = (
    "constant_lif",
    "conv_lif",
    "linear_lif",
    "lif_backward",
    "linear_weights",
    "conv_backward",
    "pack",
    "count_spikes",
)


@functools.cache
def failure() -> str | None:
    """Why the event engine cannot run here, in one line; None where it can. Loads the library once."""
    try:
        library = ctypes.CDLL(str(build.LIBRARY))
    except OSError as error:
        hint = "build it with `python -m csnn_jax.engine.build`" if not build.LIBRARY.exists() else str(error)
        return f"{build.LIBRARY.name} is not loaded: {hint}"
    try:
        library.csnn_sources.restype = ctypes.c_char_p
        expected = build.sources_digest()
        if expected and library.csnn_sources() != expected.encode():
            return f"{build.LIBRARY.name} was built from other sources: build it with `python -m csnn_jax.engine.build`"
        for name in OPERATIONS:
            handler = jax.ffi.pycapsule(getattr(library, f"csnn_{name}"))
            jax.ffi.register_ffi_target(f"csnn_{name}", handler, platform="cpu")
    except AttributeError as error:
        return f"{build.LIBRARY.name} lacks an operation: {error}; build it again"
    return None


def available() -> bool:
    """Whether the event engine can run here."""
    return failure() is None
