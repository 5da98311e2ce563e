"""Loads the library of the event engine's kernels, registers its operations with XLA, and calls them."""

import ctypes
import functools
import json
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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
    "image_current",
    "image_weights",
    "multiply",
    "add_rows",
    "pack",
    "count_spikes",
)


class Unsupported(NotImplementedError):
    """Something that the event engine doesn't support; the scan engine does."""


class Limits(NamedTuple):
    """What the kernels support, from native/kernels.h; `csnn_limits` in native/handlers.cc uses these names.

    Attributes:
        inputs: maximum inputs of one output of a convolution, kernel size squared times padded channels.
        constant_channels: maximum channels of neurons driven by a constant current whose gradient a convolution sums
            over time.
        count_planes: bits of a count, which is a number of events in a frame.
        weight_bits: maximum bits of a weight that is added as an integer, without its sign.
        kernel_sizes: heights and widths of a convolution's kernel.
        pool_sizes: heights and widths of a pooling window; 1: no pooling.
        resets: resets of neurons.
    """

    inputs: int
    constant_channels: int
    count_planes: int
    weight_bits: int
    kernel_sizes: list[int]
    pool_sizes: list[int]
    resets: list[str]


@functools.cache
def failure() -> str | None:
    """Why the event engine can't run here, in one line; None if it can. Loads the library once.

    Raises:
        UserError: the environment variable CSNN_ISA names an instruction set that isn't available.
    """
    try:
        library = ctypes.CDLL(str(build.LIBRARY))
    except OSError as error:
        if build.LIBRARY.exists():
            return f"{build.LIBRARY.name} is not loaded: {error}"
        return f"{build.LIBRARY.name} is not built: install a C++20 compiler and run `python -m csnn_jax.engine.build`"
    try:
        library.csnn_sources.restype = ctypes.c_char_p
        expected = build.sources_digest()
        if expected and library.csnn_sources() != expected.encode():
            return f"{build.LIBRARY.name} was built from other sources: rebuild it (`python -m csnn_jax.engine.build`)"
        if library.csnn_ffi_minor() > _ffi_minor():
            return f"{build.LIBRARY.name} was built for a newer JAX: rebuild it (`python -m csnn_jax.engine.build`)"
        _ = library.csnn_limits
        library.csnn_isa_problem.restype = ctypes.c_char_p
        if problem := library.csnn_isa_problem():
            raise UserError(os.fsdecode(problem))
        for name in OPERATIONS:
            handler = jax.ffi.pycapsule(getattr(library, f"csnn_{name}"))
            jax.ffi.register_ffi_target(f"csnn_{name}", handler, platform="cpu")
    except AttributeError as error:
        return f"{build.LIBRARY.name} lacks an operation: {error}; rebuild it"
    return None


def _ffi_minor() -> int:
    """The version of XLA's foreign function interface in the installed JAX, which runs handlers up to this one."""
    header = Path(jax.ffi.include_dir(), "xla/ffi/api/c_api.h").read_text()
    version = re.search(r"#define XLA_FFI_API_MINOR (\d+)", header)
    assert version, header[:200]
    return int(version[1])


def available() -> bool:
    """Whether the event engine can run here. Raises the errors of `failure`."""
    return failure() is None


def limits() -> Limits:
    """The sizes and resets that the kernels support.

    Raises:
        RuntimeError: the library isn't built, or can't be loaded.
    """
    _require()
    return _limits()


@functools.cache
def _limits() -> Limits:
    read = ctypes.CDLL(str(build.LIBRARY)).csnn_limits
    read.restype = ctypes.c_char_p
    return Limits(**json.loads(read()))


def float_of(*shape: int) -> jax.ShapeDtypeStruct:
    """A float32 result with this shape."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def words_of(*shape: int) -> jax.ShapeDtypeStruct:
    """A result with this shape, in 16-bit words."""
    return jax.ShapeDtypeStruct(shape, jnp.uint16)


def call(
    name: str,
    operands: Mapping[str, Array | None],
    results: Mapping[str, jax.ShapeDtypeStruct],
    aliases: Mapping[str, str] | None = None,
    **attributes: Any,
) -> dict[str, Array]:
    """Calls an operation of native/handlers.cc, which looks up its arguments by name.

    XLA passes operands and results by position, so the attributes `operands` and `results` have their positions.

    Args:
        name: one of OPERATIONS.
        operands: its arrays; None: omitted.
        results: shapes and types of its results.
        aliases: maps an operand to the result that may overwrite it.
        attributes: other arguments.

    Returns:
        The results.

    Raises:
        RuntimeError: the library isn't built, or can't be loaded.
        jax.errors.JaxRuntimeError: at run time, for a name, shape or value that the operation doesn't accept.
    """
    _require()
    given = {operand: array for operand, array in operands.items() if array is not None}
    takes, gives = ({each: np.int64(number) for number, each in enumerate(names)} for names in (given, results))
    numbers = {int(takes[operand]): int(gives[result]) for operand, result in (aliases or {}).items()}
    operation = jax.ffi.ffi_call(f"csnn_{name}", tuple(results.values()), input_output_aliases=numbers)
    arrays = _once_differentiable(partial(operation, operands=takes, results=gives, **attributes), *given.values())
    return dict(zip(results, arrays, strict=True))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _once_differentiable(operation: Callable[..., list[Array]], *operands: Array) -> list[Array]:
    """operation(*operands); its users have derivative rules, which call operations without any."""
    not_mapped = jax.custom_batching.custom_vmap(operation)

    @not_mapped.def_vmap
    def _(*_: Any) -> Any:
        instead = "jax.lax.map, jax.vjp in a loop, or the scan engine (csnn_jax.forward)"
        raise Unsupported(f"the event engine doesn't run under jax.vmap, which jax.jacrev uses; use {instead}")

    return not_mapped(*operands)


@_once_differentiable.defjvp
def _(*_: Any) -> Any:
    instead = "the scan engine (csnn_jax.forward) with jax.grad or jax.jacrev"
    raise Unsupported(f"the event engine has no second derivatives and no forward mode (jax.hessian); use {instead}")


def _require() -> None:
    if (reason := failure()) is not None:
        raise RuntimeError(reason)
