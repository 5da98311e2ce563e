"""Sums of gradients and losses in an order that doesn't depend on the machine.

XLA passes long contractions to libraries that split them by cache size or number of threads, so the same job would end
with different weights on another processor. Forward sums don't need this, because they are exact on their grids.
"""

import jax.numpy as jnp
from jax import Array

from csnn_jax.engine.library import call, differentiable, padded

COLUMNS = 64
"""`add_up` first sums to this many numbers, with vector instructions."""


def _add_up_backward(axis: int | None, shape: tuple[int, ...], dsum: Array) -> tuple[Array]:
    return (jnp.broadcast_to(dsum if axis is None else jnp.expand_dims(dsum, axis), shape),)


@differentiable(_add_up_backward, 1)
def add_up(x: Array, axis: int | None = None) -> tuple[Array, tuple[int, ...]]:
    """The sum of a float32 array over an axis, or of all its values, in double precision."""

    def over_rows(rows: Array) -> Array:
        return call("add_rows", x=rows)["sums"]

    if axis is not None:
        rows = jnp.moveaxis(x, axis, 0)
        return over_rows(rows.reshape(len(rows), -1)).reshape(rows.shape[1:]), x.shape
    columns = jnp.pad(x.reshape(-1), (0, -x.size % COLUMNS)).reshape(-1, COLUMNS)
    return over_rows(over_rows(columns)[:, None])[0], x.shape


def multiply(left: Array, right: Array, transposed: bool = False) -> Array:
    """left [rows, inner] @ right [inner, columns], each sum in the order of `inner`; no gradient.

    If `transposed`, right is [columns, inner].
    """
    columns = len(right) if transposed else right.shape[1]
    more = (0, padded(columns) - columns)
    if transposed:
        results = call("multiply", left=left, transposed=jnp.pad(right, (more, (0, 0))))
    else:
        results = call("multiply", left=left, right=jnp.pad(right, ((0, 0), more)))
    return results["product"][:, :columns]
