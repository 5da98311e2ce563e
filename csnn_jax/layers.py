"""Convolution, 2x2 pooling and linear layers whose backward pass is as fast as the platform allows.

On a GPU the gradients are left to autodiff, which lowers to cuDNN's convolutions. On a CPU, inside `lax.scan`, XLA
has no fast path for the weight gradient that autodiff writes (541 ms against 5 to 8 ms for one step of the default
conv2), so there the convolution has backward formulas of its own.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float, UInt8

_LAYOUT = ("NHWC", "HWIO", "NHWC")

# On recent NVIDIA cards float32 products would else be taken in TF32, of 10 bits, and spikes would differ.
PRECISION = lax.Precision.HIGHEST


def _convolve(x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT, precision=PRECISION)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(
    x: Float[Array, "batch height width in"], kernel: Float[Array, "k k in out"], binary: bool = False
) -> Float[Array, "batch height width out"]:
    """Convolution (cross-correlation, as torch's), stride 1, zero padding that keeps the size; no bias.

    Args:
        x: input.
        kernel: weights, k odd.
        binary: promises that x holds only 0 and 1, which makes the weight gradient on the CPU cheaper.
    """
    del binary
    return _convolve(x, kernel)


def _conv_forward(x: Array, kernel: Array, binary: bool) -> tuple[Array, tuple[Array, Array]]:
    del binary
    return _convolve(x, kernel), (x, kernel)


def _conv_backward(binary: bool, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    on_cpu = partial(_conv_backward_cpu, binary)
    return lax.platform_dependent(*saved, dy, cpu=on_cpu, default=_conv_backward_autodiff)


conv.defvjp(_conv_forward, _conv_backward)


def _conv_backward_autodiff(x: Array, kernel: Array, dy: Array) -> tuple[Array, Array]:
    return jax.vjp(_convolve, x, kernel)[1](dy)


def _conv_backward_cpu(binary: bool, x: Array, kernel: Array, dy: Array) -> tuple[Array, Array]:
    """Input gradient as a forward convolution, weight gradient as a matrix product over shifted copies of x."""
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return _convolve(dy, flipped), conv_weight_gradient(x, dy, kernel.shape[0], binary)


def conv_weight_gradient(x: Array, dy: Array, kernel_size: int, binary: bool = False) -> Array:
    """dL/dkernel [k, k, in, out] = sum over batch and positions of x, shifted, times dy.

    One matrix product [k k in, positions] @ [positions, out]: XLA's product on the CPU is twice as fast with the
    positions innermost in its left operand, hence the transposition, which is done on bytes where x is binary. The
    batch is cut into chunks so that the shifted copies, k^2 times the size of x, stay in the cache.
    """
    batch, height, width, channels = x.shape
    pad = kernel_size // 2
    chunks = next(n for n in (4, 2, 1) if batch % n == 0)
    narrow = x.astype(jnp.uint8) if binary else x
    padded = jnp.pad(narrow.transpose(3, 0, 1, 2), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    # The barrier makes XLA write the transposed array once, instead of transposing anew for every shift.
    padded = lax.optimization_barrier(padded)
    padded = padded.reshape(channels, chunks, batch // chunks, height + 2 * pad, width + 2 * pad).swapaxes(0, 1)

    def add_chunk(total: Array, chunk: tuple[Array, Array]) -> tuple[Array, None]:
        image, gradient = chunk
        shifts = [(i, j) for i in range(kernel_size) for j in range(kernel_size)]
        shifted = jnp.stack([image[:, :, i : i + height, j : j + width] for i, j in shifts])
        return total + shifted.astype(dy.dtype).reshape(kernel_size**2 * channels, -1) @ gradient, None

    zero = jnp.zeros((kernel_size**2 * channels, dy.shape[-1]), dy.dtype)
    total, _ = lax.scan(add_chunk, zero, (padded, dy.reshape(chunks, -1, dy.shape[-1])))
    return total.reshape(kernel_size, kernel_size, channels, dy.shape[-1])


def _quarters(x: Array) -> tuple[Array, Array, Array, Array]:
    """The four members of every 2x2 window in row-major order, each [batch, height // 2, width // 2, channels]."""
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2].reshape(batch, height // 2, 2, width // 2, 2, channels)
    return x[:, :, 0, :, 0], x[:, :, 0, :, 1], x[:, :, 1, :, 0], x[:, :, 1, :, 1]


@jax.custom_vjp
def max_pool(
    x: Float[Array, "batch height width channels"], bias: Float[Array, " channels"]
) -> Float[Array, "batch height/2 width/2 channels"]:
    """2x2 max-pool of x + bias; the gradient goes to the first maximum of a window in row-major order, as in torch.

    An odd last row or column is left out, as in torch. (`jnp.max` would split the gradient among ties, and ties are
    the rule with binary spikes.) The bias is added here because its gradient is cheaper after the pooling.
    """
    return _max_pool_forward(x, bias)[0]


def _max_pool_forward(x: Array, bias: Array) -> tuple[Array, tuple[UInt8[Array, "..."], tuple[int, ...]]]:
    a, b, c, d = _quarters(x + bias)
    top = jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))
    winner = jnp.where(a == top, 0, jnp.where(b == top, 1, jnp.where(c == top, 2, 3))).astype(jnp.uint8)
    return top, (checkpoint_name(winner, "winner"), x.shape[1:3])


def _max_pool_backward(saved: tuple[Array, tuple[int, ...]], dy: Array) -> tuple[Array, Array]:
    winner, (height, width) = saved
    place = jnp.arange(4, dtype=jnp.uint8).reshape(1, 1, 2, 1, 2, 1)
    dx = jnp.where(winner[:, :, None, :, None] == place, dy[:, :, None, :, None], 0)
    batch, rows, columns, channels = dy.shape
    dx = dx.reshape(batch, 2 * rows, 2 * columns, channels)
    dx = jnp.pad(dx, ((0, 0), (0, height - 2 * rows), (0, width - 2 * columns), (0, 0)))
    return dx, dy.reshape(-1, channels).sum(0)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def avg_pool(
    x: Float[Array, "batch height width channels"], bias: Float[Array, " channels"]
) -> Float[Array, "batch height/2 width/2 channels"]:
    """2x2 average-pool of x + bias, summed in torch's order; an odd last row or column is left out."""
    a, b, c, d = _quarters(x + bias)
    return (((a + b) + c) + d) / 4
