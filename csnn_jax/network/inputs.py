"""Checks of a network's parameters and input before it runs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from csnn_jax.network.rounding import rounded

if TYPE_CHECKING:
    from csnn_jax.config import ModelConfig


def check(config: "ModelConfig", x: Array, ranks: tuple[int, ...] = (4, 5), name: str = "x") -> None:
    """Raises ValueError unless x is a valid input of a network, with what was given and expected.

    Inside `jax.jit` and similar, where values aren't known, only its shape and type are checked.

    Args:
        config: the network.
        x: an image [batch, H, W, C] or a sequence [time, batch, H, W, C].
        ranks: the numbers of axes that it may have.
        name: its name in messages.
    """
    if not isinstance(x, Array | np.ndarray):
        raise ValueError(f"{name} is of type {type(x).__name__}, expected an array")
    if x.ndim not in ranks or x.shape[-3:] != config.input_shape or 0 in x.shape:
        shape = ", ".join(map(str, config.input_shape))
        kinds = {4: f"[batch, {shape}]", 5: f"[time, batch, {shape}]"}
        raise ValueError(f"{name} is {list(x.shape)}, expected {' or '.join(kinds[rank] for rank in ranks)}")
    if not (x.dtype == jnp.uint8 and config.pixels.are_bytes):
        bytes_or = "uint8, or " if config.pixels.are_bytes else ""
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"{name} is {x.dtype}, expected {bytes_or}floats")
        if jnp.finfo(x.dtype).bits < 32:
            raise ValueError(f"{name} is {x.dtype}, expected float32 or float64")
    _check_values(config, x, name)


def _check_values(config: "ModelConfig", x: Array, name: str) -> None:
    x = lax.stop_gradient(x)  # a concrete array even where `jax.grad` differentiates with respect to it
    if isinstance(x, jax.core.Tracer):
        return
    most = 2**config.entering.bits / (1 if x.dtype == jnp.uint8 else config.entering.scale)
    values = np.asarray(x)
    low, high = values.min().item(), values.max().item()
    if not (low >= 0 and high <= most):  # also if they're NaN
        raise ValueError(f"{name} has values from {low:g} to {high:g}, expected 0 to {most:g}")


def check_parameters(parameters: Mapping[str, nnx.Param]) -> None:
    """Raises ValueError unless parameters are float32 or float64 and, outside `jax.jit` and similar, finite."""
    for name, parameter in parameters.items():
        values = parameter[...]
        if values.dtype not in (jnp.float32, jnp.float64):
            raise ValueError(f"model has {name} in {values.dtype}, expected float32 or float64, whose sums are exact")
        if isinstance(values, jax.core.Tracer):
            values = lax.stop_gradient(values)
        if isinstance(values, jax.core.Tracer):
            continue
        array = np.asarray(values)
        if not (finite := np.isfinite(array)).all():
            raise ValueError(f"model has {array[~finite][0]} in {name}, expected finite numbers")


def nan_unless_finite(parameters: Mapping[str, nnx.Param], output: Array) -> Array:
    """The output; NaN, and so is its gradient, if a parameter isn't finite, because NaN membranes never spike."""
    finite = jnp.stack([jnp.isfinite(values[...]).all() for values in parameters.values()]).all()
    return rounded(jnp.where(finite, 1, jnp.nan).astype(output.dtype) * output)
