"""Loads the library of the event engine's kernels, registers its operations with XLA, and calls them."""

import ctypes
import functools
import json
import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from csnn_jax.engine import build
from csnn_jax.errors import UserError

LANES = 16
"""Numbers in a vector of the kernels."""

P = ParamSpec("P")
R = TypeVar("R")


class Unsupported(NotImplementedError):
    """Something that the event engine doesn't support; the scan engine does."""


class Limits(NamedTuple):
    """What the kernels support, from native/kernels.h; `csnn_description` in native/handlers.cc uses these names.

    Attributes:
        inputs: maximum inputs of one output of a convolution, kernel size squared times padded channels.
        constant_channels: maximum channels of neurons driven by a constant current whose gradient a convolution sums
            over time.
        count_planes: bits of a count, which is a number of events in a frame.
        weight_bits: maximum bits of a weight that is added as an integer, without its sign.
        added: maximum number of spikes in a sum that is pooled.
        kernel_sizes: heights and widths of a convolution's kernel.
        pool_sizes: heights and widths of a pooling window; 1: no pooling.
        resets: resets of neurons.
    """

    inputs: int
    constant_channels: int
    count_planes: int
    weight_bits: int
    added: int
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
        operations = _described(build.LIBRARY)["operations"]
        library.csnn_isa_problem.restype = ctypes.c_char_p
        if problem := os.fsdecode(library.csnn_isa_problem()):
            if os.environ.get("CSNN_ISA"):
                raise UserError(problem)
            return f"{build.LIBRARY.name} {problem}: rebuild it (`python -m csnn_jax.engine.build`)"
        for name in operations:
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
    return Limits(**_described(build.LIBRARY)["limits"])


@functools.cache
def _described(path: Path) -> dict[str, Any]:
    """The operations and limits, as the library describes them."""
    read = ctypes.CDLL(str(path)).csnn_description
    read.restype = ctypes.c_char_p
    return json.loads(read())


_ATTRIBUTES = {"int64": np.int64, "float32": np.float32, "bool": np.bool_, "str": str}


def call(operation: str, *, want: Collection[str] = (), **arguments: Any) -> dict[str, Array]:
    """Calls an operation of native/handlers.cc.

    Args:
        operation: its name.
        want: the optional results to compute.
        arguments: its operands and attributes by name. None: an optional operand is omitted.

    Returns:
        The results by name.

    Raises:
        ValueError: the operation has no argument or result of a name, needs another one, or an array has another number
            of axes.
        RuntimeError: the library isn't built, or can't be loaded.
        jax.errors.JaxRuntimeError: at run time, for a type, shape or value that the operation doesn't accept.
    """
    _require()
    described = _described(build.LIBRARY)["operations"][operation]
    operands, attributes, results = described["operands"], described["attributes"], described["results"]
    arguments = {name: value for name, value in arguments.items() if value is not None}
    if unknown := (arguments.keys() - operands.keys() - attributes.keys()) | (set(want) - results.keys()):
        raise ValueError(f"{min(unknown)}: {operation} has none")
    needed = [*attributes, *(name for name, operand in operands.items() if not operand["optional"])]
    if missing := [name for name in needed if name not in arguments]:
        raise ValueError(f"{missing[0]}: {operation} needs one")
    values = {name: _ATTRIBUTES[kind](arguments[name]) for name, kind in attributes.items()}
    arrays = {name: arguments[name] for name in operands if name in arguments}
    wanted = [name for name, result in results.items() if name in want or not result["optional"]]
    for name, array in arrays.items():
        if len(axes := operands[name]["shape"]) != array.ndim:
            raise ValueError(f"{name} is {list(array.shape)}, expected [{', '.join(axes)}]")
    return _once_differentiable(partial(_run, operation, values, wanted), arrays)


def _run(operation: str, values: Mapping[str, Any], wanted: list[str], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The wanted results of an operation with these attributes and operands."""
    described = _described(build.LIBRARY)["operations"][operation]
    sizes = {name: int(values[name]) for name, kind in described["attributes"].items() if kind == "int64"}
    for name, array in arrays.items():
        for axis, size in zip(described["operands"][name]["shape"], array.shape, strict=True):
            sizes.setdefault(axis, size)
    results = [described["results"][name] for name in wanted]
    shapes = [
        jax.ShapeDtypeStruct([_size(axis, sizes) for axis in result["shape"]], result["type"]) for result in results
    ]
    # XLA passes arrays by position, which these attributes map from their names.
    places = {
        kind: {name: np.int64(place) for place, name in enumerate(names)}
        for kind, names in (("operands", arrays), ("results", wanted))
    }
    over = {[*arrays].index(result["over"]): place for place, result in enumerate(results) if result["over"]}
    function = jax.ffi.ffi_call(f"csnn_{operation}", shapes, input_output_aliases=over)
    return dict(zip(wanted, function(*arrays.values(), **places, **values), strict=True))


def _size(axis: str, sizes: Mapping[str, int]) -> int:
    """The size of an axis such as `rows*columns*out/16`."""
    product, _, divisor = axis.partition("/")
    factors = (int(factor) if factor.isdigit() else sizes[factor] for factor in product.split("*"))
    return math.prod(factors) // int(divisor or 1)


def differentiable(backward: Callable[..., tuple], *static: int) -> Callable[..., Any]:
    """Gives a function a gradient.

    Args:
        backward: (static arguments, what the function saved, cotangent of its result) -> cotangents of its arguments.
        static: numbers of the arguments that aren't arrays.

    Returns:
        A decorator of functions that return their result and what `backward` needs. The decorated ones return the
            result.
    """

    def decorate(forward: Callable[P, tuple[R, Any]]) -> Callable[P, R]:
        @functools.wraps(forward)
        def result(*arguments: P.args, **named: P.kwargs) -> R:
            return forward(*arguments, **named)[0]

        function = jax.custom_vjp(result, nondiff_argnums=static)
        function.defvjp(forward, backward)
        return cast(Callable[P, R], function)

    return decorate


def padded(channels: int) -> int:
    """Channels rounded up to a multiple of the vector width."""
    return -(-channels // LANES) * LANES


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _once_differentiable(run: Callable[..., dict[str, Array]], arrays: dict[str, Array]) -> dict[str, Array]:
    """run(arrays); its users have derivative rules, which call operations without any."""
    mappable = jax.custom_batching.custom_vmap(run)
    mappable.def_vmap(partial(_mapped, run))
    return mappable(arrays)


def _mapped(
    run: Any, size: int, is_mapped: list[dict[str, bool]], arrays: dict[str, Array]
) -> tuple[dict[str, Array], dict[str, bool]]:
    """The rule for `jax.vmap`: `size` calls as one with more images, if they share all else; or one after another."""
    operation, _, wanted = run.args
    described = _described(build.LIBRARY)["operations"][operation]
    (mapped,), operands, results = is_mapped, described["operands"], described["results"]
    given = {name: operands[name]["shape"] for name in arrays}
    returned = {name: results[name]["shape"] for name in wanted}
    of_images = all("images" in axes for name, axes in given.items() if mapped[name])
    if of_images and all("images" in axes for axes in returned.values()):
        merged = {name: _merged(array, given[name], mapped[name], size) for name, array in arrays.items()}
        together = _once_differentiable(run, merged)
        separate = {name: _separated(array, returned[name].index("images"), size) for name, array in together.items()}
    else:
        varying = {name: array for name, array in arrays.items() if mapped[name]}
        separate = jax.lax.map(lambda one: _once_differentiable(run, arrays | one), varying)
    return separate, dict.fromkeys(separate, True)


def _merged(array: Array, axes: list[str], is_mapped: bool, size: int) -> Array:
    """An operand of all calls, [size, ..., images, ...] or the same for each, as one with size * images images."""
    if "images" not in axes:
        return array
    axis = axes.index("images")
    if not is_mapped:
        array = jnp.broadcast_to(array, (size, *array.shape))
    array = jnp.moveaxis(array, 0, axis)
    return array.reshape(*array.shape[:axis], -1, *array.shape[axis + 2 :])


def _separated(array: Array, axis: int, size: int) -> Array:
    """A result of all calls [..., size * images, ...] as [size, ..., images, ...]."""
    return jnp.moveaxis(array.reshape(*array.shape[:axis], size, -1, *array.shape[axis + 1 :]), axis, 0)


@_once_differentiable.defjvp
def _(*_: Any) -> Any:
    instead = "the scan engine (csnn_jax.forward) with jax.grad or jax.jacrev"
    raise Unsupported(f"the event engine has no second derivatives and no forward mode (jax.hessian); use {instead}")


def _require() -> None:
    if (reason := failure()) is not None:
        raise RuntimeError(reason)
