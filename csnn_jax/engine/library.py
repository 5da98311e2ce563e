"""Loads the library of the event engine's kernels, registers its operations with XLA, and calls them."""

import ctypes
import functools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from csnn_jax.engine import build
from csnn_jax.errors import UserError

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


class Limits(NamedTuple):
    """What the kernels cover, as native/kernels.h has it.

    Attributes:
        inputs: the most that one output of a convolution sums, kernel size squared times padded channels.
        constant_channels: the most channels of neurons under a constant current whose gradient a convolution sums
            over time.
        kernel_sizes: heights and widths of a convolution's kernel.
    """

    inputs: int
    constant_channels: int
    kernel_sizes: tuple[int, ...]


class _Limits(ctypes.Structure):
    """`Limits` of native/handlers.cc, field by field."""

    _fields_ = (
        ("most_inputs", ctypes.c_int64),
        ("most_constant_channels", ctypes.c_int64),
        ("kernel_sizes", ctypes.c_int64),
        ("kernel_size", ctypes.POINTER(ctypes.c_int64)),
    )


@functools.cache
def failure() -> str | None:
    """Why the event engine cannot run here, in one line; None where it can. Loads the library once.

    Raises:
        UserError: the environment variable CSNN_ISA names an instruction set that there is not.
    """
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
        _ = library.csnn_limits
        library.csnn_isa_problem.restype = ctypes.c_char_p
        if problem := library.csnn_isa_problem():
            raise UserError(os.fsdecode(problem))
        for name in OPERATIONS:
            handler = jax.ffi.pycapsule(getattr(library, f"csnn_{name}"))
            jax.ffi.register_ffi_target(f"csnn_{name}", handler, platform="cpu")
    except AttributeError as error:
        return f"{build.LIBRARY.name} lacks an operation: {error}; build it again"
    return None


def available() -> bool:
    """Whether the event engine can run here. Errors as `failure`'s."""
    return failure() is None


def limits() -> Limits:
    """What the kernels cover.

    Raises:
        RuntimeError: the library is not built, or can't be loaded.
    """
    _require()
    read = ctypes.CDLL(str(build.LIBRARY)).csnn_limits
    read.restype = ctypes.POINTER(_Limits)
    found = read().contents
    sizes = tuple(found.kernel_size[: found.kernel_sizes])
    return Limits(found.most_inputs, found.most_constant_channels, sizes)


def float_of(*shape: int) -> jax.ShapeDtypeStruct:
    """A float32 result of this shape."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def words_of(*shape: int) -> jax.ShapeDtypeStruct:
    """A result of words of 16 bits of this shape."""
    return jax.ShapeDtypeStruct(shape, jnp.uint16)


def call(
    name: str,
    results: Sequence[jax.ShapeDtypeStruct],
    *operands: Array,
    aliases: dict[int, int] | None = None,
    **attributes: Any,
) -> Sequence[Array]:
    """Calls an operation of native/handlers.cc.

    Args:
        name: one of OPERATIONS.
        results: shapes and types of its results.
        operands: its arrays, in the order of its binding, as the results.
        aliases: by the number of an operand, that of the result which may be written over it.
        attributes: what else it takes.

    Returns:
        The results.

    Raises:
        RuntimeError: the library is not built, or can't be loaded.
    """
    _require()
    operation = jax.ffi.ffi_call(f"csnn_{name}", results, input_output_aliases=aliases)
    return operation(*operands, **attributes)


def _require() -> None:
    if (reason := failure()) is not None:
        raise RuntimeError(reason)
