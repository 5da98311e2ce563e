"""Sums of gradients and losses in an order that doesn't depend on the machine.

XLA passes long contractions to libraries that split them by cache size or number of threads, so the same job would end
with different weights on another processor. Forward sums don't need this, because they are exact on their grids.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from csnn_jax.engine import kernels
from csnn_jax.engine.bits import padded
from csnn_jax.engine.plan import Stage
from csnn_jax.network import layers

def shim_call(*a, **k):
    from csnn_jax.ops.shim import call
    return call(*a, **k)
def _add_rows(x):
    return shim_call('add_rows', x=x)['sums']
LEAST = 64  # a total is first summed to this many columns, with vector instructions


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def add_up(x: Array, axis: int | None = None) -> Array:
    """The sum of a float32 array over an axis, or of all its values, in double precision."""
    if axis is not None:
        rows = jnp.moveaxis(x, axis, 0)
        return _add_rows(rows.reshape(len(rows), -1)).reshape(rows.shape[1:])
    columns = jnp.pad(x.reshape(-1), (0, -x.size % LEAST)).reshape(-1, LEAST)
    return _add_rows(_add_rows(columns)[:, None])[0]


def _add_up_forward(x: Array, axis: int | None) -> tuple[Array, tuple[int, ...]]:
    return add_up(x, axis), x.shape


def _add_up_backward(axis: int | None, shape: tuple[int, ...], dsum: Array) -> tuple[Array]:
    return (jnp.broadcast_to(dsum if axis is None else jnp.expand_dims(dsum, axis), shape),)


add_up.defvjp(_add_up_forward, _add_up_backward)


def multiply(left: Array, right: Array) -> Array:
    """left [rows, inner] @ right [inner, columns], each sum in the order of `inner`."""
    columns = right.shape[1]
    right = jnp.pad(right, ((0, 0), (0, padded(columns) - columns)))
    return shim_call('multiply', left=left, right=right)['product'][:, :columns]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def image_current(image: Array, kernel: Array, bias: Array, stage: Stage) -> Array:
    """The current of the first layer, which gets the same image at every step.

    Args:
        image: [batch, height, width, in].
        kernel: [k, k, in, out] or [inputs, out], out a multiple of 16.
        bias: [out].
        stage: its geometry.

    Returns:
        [batch, neurons].
    """
    return _image_current_forward(image, kernel, bias, stage)[0]


def _current(image: Array, kernel: Array, bias: Array, stage: Stage) -> Array:
    """The same in XLA, which can differentiate it."""
    with jax.named_scope("exact"):
        if stage.convolution is None:
            return layers.matmul(image.reshape(len(image), -1), kernel) + bias
        current = layers.conv(image, kernel, stage.convolution.stride, stage.convolution.padding)
        current = current + bias if stage.pool is None else layers.pool(current, bias, stage.pool)
    return current.reshape(len(image), -1)


Saved = tuple[Array, Array, Array, Array | None]


def _image_current_forward(image: Array, kernel: Array, bias: Array, stage: Stage) -> tuple[Array, Saved]:
    if stage.convolution is None:
        current, winners = _current(image, kernel, bias, stage), None
    else:
        current, winners = kernels.image_current(image, kernel, bias, stage)
    return current, (image, kernel, bias, winners)


def _image_current_backward(stage: Stage, saved: Saved, dcurrent: Array) -> tuple[Array, Array, Array]:
    image, kernel, bias, winners = saved
    if stage.convolution is None:
        dkernel, dbias = multiply(image.reshape(len(image), -1).T, dcurrent), add_up(dcurrent, 0)
    else:
        dkernel, dbias = kernels.image_weights(image, dcurrent, winners, kernel, stage)
    # A separate pass, which XLA drops if this gradient isn't used.
    (dimage,) = jax.vjp(lambda image: _current(image, kernel, bias, stage), image)[1](dcurrent)
    return dimage, dkernel, dbias


image_current.defvjp(_image_current_forward, _image_current_backward)
