"""Convolution, 2x2 pooling and linear layers whose backward pass is as fast as the platform allows.

On a GPU the gradients are left to autodiff, which lowers to cuDNN's convolutions. On a CPU, inside `lax.scan`, XLA
has no fast path for the weight gradient that autodiff writes (541 ms against 5 to 8 ms for one step of the default
conv2), so there the convolution has backward formulas of its own.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name

from csnn_jax.network import activity
from csnn_jax.network.activity import Activity

_LAYOUT = ("NHWC", "HWIO", "NHWC")

# On recent NVIDIA cards float32 products would else be taken in TF32, of 10 bits, and spikes would differ.
PRECISION = lax.Precision.HIGHEST


def matmul(x: Array, y: Array) -> Array:
    return jnp.matmul(x, y, precision=PRECISION)


def _convolve(x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT, precision=PRECISION)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: Array, kernel: Array, binary: bool = False) -> Array:
    """Convolution (cross-correlation, as torch's), stride 1, zero padding that keeps the size; no bias.

    Args:
        x: input [batch, height, width, in].
        kernel: weights [k, k, in, out], k odd.
        binary: promises that x holds only 0 and 1, which makes products on the CPU cheaper.

    Returns:
        [batch, height, width, out].
    """
    return _conv_forward(x, kernel, binary)[0]


def _conv_forward(x: Array, kernel: Array, binary: bool) -> tuple[Array, tuple[Array, Array, Activity | None]]:
    active = activity.find(x, kernel.shape[-1]) if binary else None
    y = activity.among(lambda on, x, kernel: _convolve(x[..., on], kernel[:, :, on]), active, x, kernel)
    return y, (x, kernel, active)


def _conv_backward(binary: bool, saved: tuple[Array, Array, Activity | None], dy: Array) -> tuple[Array, Array]:
    del binary
    return lax.platform_dependent(*saved, dy, cpu=_conv_backward_cpu, default=_conv_backward_autodiff)


conv.defvjp(_conv_forward, _conv_backward)


def _conv_backward_autodiff(x: Array, kernel: Array, active: Activity | None, dy: Array) -> tuple[Array, Array]:
    del active
    return jax.vjp(_convolve, x, kernel)[1](dy)


def _conv_backward_cpu(x: Array, kernel: Array, active: Activity | None, dy: Array) -> tuple[Array, Array]:
    """Input gradient as a forward convolution, weight gradient as a matrix product over shifted copies of x."""

    def weights(on: Array | slice, x: Array, dy: Array) -> Array:
        x = x[..., on] if active is None else x[..., on].astype(jnp.uint8)
        return jnp.zeros(kernel.shape, dy.dtype).at[:, :, on].set(conv_weight_gradient(x, dy, len(kernel)))

    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return _convolve(dy, flipped), activity.among(weights, active, x, dy)


def conv_weight_gradient(x: Array, dy: Array, kernel_size: int) -> Array:
    """dL/dkernel [k, k, in, out] = sum over batch and positions of x, shifted, times dy.

    One product [k in, batch width] @ [batch width, out] for every row of the image and of the kernel: XLA's product on
    the CPU is fastest with the positions innermost in its left operand, and operands of this size stay in the cache.
    Only the shifts along a row are copied (as bytes if x is of bytes); those across rows choose the operands.
    """
    batch, height, width, channels = x.shape
    pad, out = kernel_size // 2, dy.shape[-1]
    padded = jnp.pad(x.transpose(1, 3, 0, 2), ((0, 0), (0, 0), (0, 0), (pad, pad)))
    shifted = jnp.stack([padded[..., j : j + width] for j in range(kernel_size)], axis=1)
    inputs = [row.reshape(-1, batch * width).astype(dy.dtype) for row in shifted]
    gradients = [dy[:, h].reshape(batch * width, out) for h in range(height)]

    def row(i: int) -> Array:
        total = jnp.zeros((kernel_size * channels, out), dy.dtype)
        for h in range(max(0, pad - i), min(height, height + pad - i)):
            total += inputs[h + i - pad] @ gradients[h]
        return total.reshape(kernel_size, channels, out)

    return jnp.stack([row(i) for i in range(kernel_size)])


@jax.custom_vjp
def linear(spikes: Array, kernel: Array) -> Array:
    """spikes [batch, in] @ kernel [in, out], where spikes hold only 0 and 1."""
    return _linear_forward(spikes, kernel)[0]


def _linear_forward(spikes: Array, kernel: Array) -> tuple[Array, tuple[Array, Array, Activity | None]]:
    active = activity.find(spikes, kernel.shape[-1])
    y = activity.among(lambda on, spikes, kernel: matmul(spikes[:, on], kernel[on]), active, spikes, kernel)
    return y, (spikes, kernel, active)


def _linear_backward(saved: tuple[Array, Array, Activity | None], dy: Array) -> tuple[Array, Array]:
    spikes, kernel, active = saved

    def weights(on: Array | slice, spikes: Array, dy: Array) -> Array:
        return jnp.zeros_like(kernel).at[on].set(matmul(spikes[:, on].T, dy))

    return matmul(dy, kernel.T), activity.among(weights, active, spikes, dy)


linear.defvjp(_linear_forward, _linear_backward)


def _once(function: Callable, *operands: Array) -> Any:
    """function(*operands), which XLA on the CPU computes once, on all threads, and keeps in memory.

    It would else be computed anew by everything that uses it, and on a single thread by what stores it for the backward
    pass. XLA drops an `optimization_barrier` before it decides on that; a branch that it can't foresee it leaves alone.
    """

    def on_cpu(*operands: Array) -> Any:
        element = jnp.ravel(operands[0])[0]
        return lax.cond(element == element, function, function, *operands)

    return lax.platform_dependent(*operands, cpu=on_cpu, default=function)


def _quarters(x: Array) -> tuple[Array, Array, Array, Array]:
    """The four members of every 2x2 window in row-major order, each [batch, height // 2, width // 2, channels]."""
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2].reshape(batch, height // 2, 2, width // 2, 2, channels)
    return x[:, :, 0, :, 0], x[:, :, 0, :, 1], x[:, :, 1, :, 0], x[:, :, 1, :, 1]


@jax.custom_vjp
def max_pool(x: Array, bias: Array) -> Array:
    """2x2 max-pool of x + bias; the gradient goes to the first maximum of a window in row-major order, as in torch.

    From x [batch, height, width, channels] and bias [channels] to [batch, height // 2, width // 2, channels].
    An odd last row or column is left out, as in torch. (`jnp.max` would split the gradient among ties, and ties are the
    rule with binary spikes.) The bias is added here because its gradient is cheaper after the pooling.
    """
    return _max_pool_forward(x, bias)[0]


def _maxima(x: Array, bias: Array) -> tuple[Array, Array]:
    """Largest member of every window of x + bias, and which it is, 0 to 3."""
    a, b, c, d = _quarters(x + bias)
    top = jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))
    return top, jnp.where(a == top, 0, jnp.where(b == top, 1, jnp.where(c == top, 2, 3))).astype(jnp.uint8)


def _unpool(dy: Array, winner: Array) -> Array:
    """dy at the winner of every window, 0 elsewhere: [batch, height / 2, 2, width / 2, 2, channels]."""
    place = jnp.arange(4, dtype=jnp.uint8).reshape(1, 1, 2, 1, 2, 1)
    return jnp.where(winner[:, :, None, :, None] == place, dy[:, :, None, :, None], 0)


def _max_pool_forward(x: Array, bias: Array) -> tuple[Array, tuple[Array, tuple[int, ...]]]:
    top, winner = _once(_maxima, x, bias)
    return top, (checkpoint_name(winner, "winner"), x.shape[1:3])


def _max_pool_backward(saved: tuple[Array, tuple[int, ...]], dy: Array) -> tuple[Array, Array]:
    winner, (height, width) = saved
    batch, rows, columns, channels = dy.shape
    dx = _once(_unpool, dy, winner).reshape(batch, 2 * rows, 2 * columns, channels)
    dx = jnp.pad(dx, ((0, 0), (0, height - 2 * rows), (0, width - 2 * columns), (0, 0)))
    return dx, dy.reshape(-1, channels).sum(0)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def avg_pool(x: Array, bias: Array) -> Array:
    """2x2 average-pool of x + bias, summed in torch's order; an odd last row or column is left out.

    From x [batch, height, width, channels] and bias [channels] to [batch, height // 2, width // 2, channels].
    """
    a, b, c, d = _quarters(x + bias)
    return (((a + b) + c) + d) / 4
