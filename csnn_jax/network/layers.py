"""Convolution, pooling and linear layers with a fast backward pass on each platform.

On a GPU, autodiff computes the gradients, which lowers to cuDNN's convolutions. On a CPU inside `lax.scan`, XLA has no
fast path for autodiff's weight gradient (541 ms instead of 5 to 8 ms for one step of the default conv2), so the
convolution defines its own backward pass there.
"""

import functools
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name

from csnn_jax.config.geometry import Pooling
from csnn_jax.network import activity
from csnn_jax.network.activity import ActiveChannels

_LAYOUT = ("NHWC", "HWIO", "NHWC")

# Otherwise, recent NVIDIA GPUs compute float32 products in TF32, with 10 bits, and spikes differ.
PRECISION = lax.Precision.HIGHEST


def matmul(x: Array, y: Array) -> Array:
    return jnp.matmul(x, y, precision=PRECISION)


def _convolve(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    strides, pads = (stride, stride), ((padding, padding), (padding, padding))
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=_LAYOUT, precision=PRECISION)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def conv(x: Array, kernel: Array, stride: int, padding: int, binary: bool = False) -> Array:
    """Convolution (cross-correlation, as in torch) without a bias.

    Args:
        x: input [batch, height, width, in].
        kernel: weights [k, k, in, out].
        stride: stride of the convolution, in pixels.
        padding: zeros on every side of x, less than k.
        binary: whether x is known to contain only 0 and 1, which makes products on the CPU cheaper.

    Returns:
        [batch, rows, columns, out].
    """
    return _conv_forward(x, kernel, stride, padding, binary)[0]


def _conv_forward(
    x: Array, kernel: Array, stride: int, padding: int, binary: bool
) -> tuple[Array, tuple[Array, Array, ActiveChannels | None]]:
    active = activity.find(x, kernel.shape[-1]) if binary else None

    def among(on: Array | slice, x: Array, kernel: Array) -> Array:
        return _convolve(x[..., on], kernel[:, :, on], stride, padding)

    return activity.among(among, active, x, kernel), (x, kernel, active)


def _conv_backward(
    stride: int, padding: int, binary: bool, saved: tuple[Array, Array, ActiveChannels | None], dy: Array
) -> tuple[Array, Array]:
    del binary
    cpu, default = (partial(way, stride, padding) for way in (_conv_backward_cpu, _conv_backward_autodiff))
    return lax.platform_dependent(*saved, dy, cpu=cpu, default=default)


conv.defvjp(_conv_forward, _conv_backward)


def _conv_backward_autodiff(
    stride: int, padding: int, x: Array, kernel: Array, active: ActiveChannels | None, dy: Array
) -> tuple[Array, Array]:
    del active
    return jax.vjp(lambda x, kernel: _convolve(x, kernel, stride, padding), x, kernel)[1](dy)


def _conv_backward_cpu(
    stride: int, padding: int, x: Array, kernel: Array, active: ActiveChannels | None, dy: Array
) -> tuple[Array, Array]:
    """Input gradient as a forward convolution, weight gradient as a matrix product over shifted copies of x.

    The formulas are for stride 1; positions that a larger stride skips get a gradient of 0.
    """
    size = len(kernel)
    if stride > 1:
        skipped = [
            (0, n + 2 * padding - size - stride * (m - 1), stride - 1)
            for n, m in zip(x.shape[1:3], dy.shape[1:3], strict=True)
        ]
        dy = lax.pad(dy, jnp.zeros((), dy.dtype), ((0, 0, 0), *skipped, (0, 0, 0)))

    def weights(on: Array | slice, x: Array, dy: Array) -> Array:
        x = x[..., on] if active is None else x[..., on].astype(jnp.uint8)
        return jnp.zeros(kernel.shape, dy.dtype).at[:, :, on].set(conv_weight_gradient(x, dy, size, padding))

    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return _convolve(dy, flipped, 1, size - 1 - padding), activity.among(weights, active, x, dy)


def conv_weight_gradient(x: Array, dy: Array, kernel_size: int, padding: int) -> Array:
    """dL/dkernel [k, k, in, out] for stride 1: the sum over batch and positions of shifted x times dy.

    It computes one product [k in, batch width] @ [batch width, out] for every row of the image and of the kernel. XLA's
    product on the CPU is fastest with the positions innermost in its left operand, and operands of this size fit in the
    cache. Only shifts along a row are copied (as bytes if x is bytes); shifts across rows select the operands.
    """
    batch, height, _, channels = x.shape
    rows, columns, out = dy.shape[1:]
    padded = jnp.pad(x.transpose(1, 3, 0, 2), ((0, 0), (0, 0), (0, 0), (padding, padding)))
    shifted = jnp.stack([padded[..., j : j + columns] for j in range(kernel_size)], axis=1)
    inputs = [row.reshape(-1, batch * columns).astype(dy.dtype) for row in shifted]
    gradients = [dy[:, h].reshape(batch * columns, out) for h in range(rows)]

    def row(i: int) -> Array:
        total = jnp.zeros((kernel_size * channels, out), dy.dtype)
        for h in range(max(0, padding - i), min(rows, height + padding - i)):
            total += inputs[h + i - padding] @ gradients[h]
        return total.reshape(kernel_size, channels, out)

    return jnp.stack([row(i) for i in range(kernel_size)])


@jax.custom_vjp
def linear(spikes: Array, kernel: Array) -> Array:
    """spikes [batch, in] @ kernel [in, out], where spikes are only 0 and 1."""
    return _linear_forward(spikes, kernel)[0]


def _linear_forward(spikes: Array, kernel: Array) -> tuple[Array, tuple[Array, Array, ActiveChannels | None]]:
    active = activity.find(spikes, kernel.shape[-1])
    y = activity.among(lambda on, spikes, kernel: matmul(spikes[:, on], kernel[on]), active, spikes, kernel)
    return y, (spikes, kernel, active)


def _linear_backward(saved: tuple[Array, Array, ActiveChannels | None], dy: Array) -> tuple[Array, Array]:
    spikes, kernel, active = saved

    def weights(on: Array | slice, spikes: Array, dy: Array) -> Array:
        return jnp.zeros_like(kernel).at[on].set(matmul(spikes[:, on].T, dy))

    return matmul(dy, kernel.T), activity.among(weights, active, spikes, dy)


linear.defvjp(_linear_forward, _linear_backward)


def _once(function: Callable, *operands: Array) -> Any:
    """function(*operands), which XLA on the CPU computes once, on all threads, and keeps in memory.

    Otherwise every use would compute it again, and storing it for the backward pass would take place on a single
    thread. XLA drops an `optimization_barrier` before it makes that decision, but keeps a branch that it can't predict.
    """

    def on_cpu(*operands: Array) -> Any:
        element = jnp.ravel(operands[0])[0]
        return lax.cond(element == element, function, function, *operands)

    return lax.platform_dependent(*operands, cpu=on_cpu, default=function)


def _members(x: Array, pool: Pooling) -> list[Array]:
    """The members of every window in row-major order, each [batch, rows, columns, channels]."""
    batch, height, width, channels = x.shape
    size, stride = pool.size, pool.stride
    rows, columns = pool.positions(height), pool.positions(width)
    if size == stride:  # a reshape, which XLA on the CPU handles best
        x = x[:, : rows * size, : columns * size].reshape(batch, rows, size, columns, size, channels)
        return [x[:, :, i, :, j] for i, j in np.ndindex(size, size)]
    high, wide = stride * (rows - 1) + 1, stride * (columns - 1) + 1
    return [x[:, i : i + high : stride, j : j + wide : stride] for i, j in np.ndindex(size, size)]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def max_pool(x: Array, bias: Array, pool: Pooling) -> Array:
    """Max-pool of x + bias; the gradient goes to the first maximum of a window in row-major order, as in torch.

    From x [batch, height, width, channels] and bias [channels] to [batch, rows, columns, channels]. Incomplete windows
    at the edges are dropped, as in torch. (`jnp.max` would split the gradient among ties, which are common with binary
    spikes.) The bias is added here because its gradient is cheaper to compute after pooling.
    """
    return _max_pool_forward(x, bias, pool)[0]


def maxima(x: Array, bias: Array, pool: Pooling) -> tuple[Array, Array]:
    """The largest value of every window of x + bias, and its index in the window in row-major order, as uint8."""
    return _once(partial(_maxima, pool), x, bias)


def _maxima(pool: Pooling, x: Array, bias: Array) -> tuple[Array, Array]:
    members = _members(x + bias, pool)
    top = functools.reduce(jnp.maximum, members)
    winner: Array | int = len(members) - 1
    for place, member in reversed(list(enumerate(members[:-1]))):
        winner = jnp.where(member == top, place, winner)
    return top, jnp.asarray(winner).astype(jnp.uint8)


def _unpool(pool: Pooling, dy: Array, winner: Array) -> Array:
    """dy at the winner of every window, 0 elsewhere: [batch, rows, size, columns, size, channels]."""
    place = jnp.arange(pool.size**2, dtype=jnp.uint8).reshape(1, 1, pool.size, 1, pool.size, 1)
    return jnp.where(winner[:, :, None, :, None] == place, dy[:, :, None, :, None], 0)


def _max_pool_forward(x: Array, bias: Array, pool: Pooling) -> tuple[Array, tuple[Array, tuple[int, ...]]]:
    top, winner = maxima(x, bias, pool)
    return top, (checkpoint_name(winner, "winner"), x.shape[1:3])


def _max_pool_backward(pool: Pooling, saved: tuple[Array, tuple[int, ...]], dy: Array) -> tuple[Array, Array]:
    winner, shape = saved
    batch, rows, columns, channels = dy.shape
    size, stride = pool.size, pool.stride
    dbias = dy.reshape(-1, channels).sum(0)
    if size == stride:
        dx = _once(partial(_unpool, pool), dy, winner).reshape(batch, size * rows, size * columns, channels)
        left = [(0, n - m) for n, m in zip(shape, dx.shape[1:3], strict=True)]
        return jnp.pad(dx, ((0, 0), *left, (0, 0))), dbias
    total = jnp.zeros((batch, *shape, channels), dy.dtype)
    high, wide = stride * (rows - 1) + 1, stride * (columns - 1) + 1
    for place, (i, j) in enumerate(np.ndindex(size, size)):
        passed = jnp.where(winner == place, dy, 0)
        total = total.at[:, i : i + high : stride, j : j + wide : stride].add(passed)
    return total, dbias


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def pool(x: Array, bias: Array, pooling: Pooling) -> Array:
    """Pools x + bias: the maximum, sum or average of every window; incomplete windows are dropped.

    From x [batch, height, width, channels] and bias [channels] to [batch, rows, columns, channels].
    """
    if pooling.kind == "max":
        return max_pool(x, bias, pooling)
    total = functools.reduce(operator.add, _members(x + bias, pooling))
    return total / pooling.window if pooling.kind == "avg" else total
