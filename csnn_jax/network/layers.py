"""Convolution, pooling and linear layers with a fast backward pass on each platform.

On a GPU, autodiff computes the gradients, which lowers to cuDNN's convolutions. On a CPU inside `lax.scan`, XLA has no
fast path for autodiff's weight gradient (results/own_loop.json: 78 times as long as the event engine), so the
convolution defines its own backward pass there.
"""

import functools
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name

from csnn_jax.config.operations import Pooling
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


class Geometry(NamedTuple):
    """How a convolution's kernel moves over its input.

    Attributes:
        kernel_size: height and width of the kernel, in pixels.
        stride: in pixels.
        padding: zeros on every side of the input, less than `kernel_size`.
        height, width: of the input, in pixels.
    """

    kernel_size: int
    stride: int
    padding: int
    height: int
    width: int


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
    active = activity.find(x, kernel.shape[-1]) if binary else None
    return _conv(x, kernel, active, Geometry(len(kernel), stride, padding, *x.shape[1:3]))


def linear(spikes: Array, kernel: Array) -> Array:
    """spikes [batch, in] @ kernel [in, out], where spikes are only 0 and 1."""
    return _linear(spikes, kernel, activity.find(spikes, kernel.shape[-1]), None)


Product = Callable[[Array, Array, ActiveChannels | None, Any], Array]


def _bilinear(function: Product, gradients: Callable[..., tuple[Array, Array]]) -> Product:
    """A function that is linear in each of two operands, with a gradient that is made of such functions again.

    Args:
        function: (left, right, active, geometry) -> the product. active: the channels of the left operand that aren't 0
            everywhere, if it consists of spikes; None: all.
        gradients: (left, right, active, cotangent, geometry) -> the gradients of left and right.
    """
    product = jax.custom_vjp(function, nondiff_argnums=(3,))

    def forward(*operands: Any) -> tuple[Array, Any]:
        # JAX 0.10 and 0.12 mix up residuals that are operands themselves in the second derivative of a scan, if the
        # function has operations without inputs, such as zeros. A name makes them new values.
        saved = jax.tree.map(lambda array: checkpoint_name(array, "operand"), operands[:3])
        return product(*operands), saved

    def backward(geometry: Geometry | None, saved: Any, cotangent: Array) -> tuple[Array, Array, None]:
        return *gradients(*saved, cotangent, geometry), None

    product.defvjp(forward, backward)
    return product


def _convolution(x: Array, kernel: Array, active: ActiveChannels | None, geometry: Geometry) -> Array:
    def among(on: Array | slice, x: Array, kernel: Array) -> Array:
        return _convolve(x[..., on], kernel[:, :, on], geometry.stride, geometry.padding)

    return activity.among(among, active, x, kernel)


def _input_gradient_of(dy: Array, kernel: Array, active: ActiveChannels | None, geometry: Geometry) -> Array:
    """dL/dx [batch, height, width, in] of a convolution."""
    del active
    cpu, default = (partial(way, geometry) for way in (_input_gradient_cpu, _input_gradient_autodiff))
    return lax.platform_dependent(dy, kernel, cpu=cpu, default=default)


def _weight_gradient_of(x: Array, dy: Array, active: ActiveChannels | None, geometry: Geometry) -> Array:
    """dL/dkernel [k, k, in, out] of a convolution."""
    cpu, default = (partial(way, geometry) for way in (_weight_gradient_cpu, _weight_gradient_autodiff))
    return lax.platform_dependent(x, dy, active, cpu=cpu, default=default)


def _product(spikes: Array, kernel: Array, active: ActiveChannels | None, geometry: None) -> Array:
    del geometry
    return activity.among(lambda on, spikes, kernel: matmul(spikes[:, on], kernel[on]), active, spikes, kernel)


def _product_gradient_of(spikes: Array, dy: Array, active: ActiveChannels | None, geometry: None) -> Array:
    """dL/dkernel [in, out] of a linear layer."""
    del geometry
    inputs = spikes.shape[-1]

    def weights(on: Array | slice, spikes: Array, dy: Array) -> Array:
        zeros = jnp.zeros((inputs, dy.shape[-1]), dy.dtype)
        return zeros.at[on].set(matmul(spikes[:, on].T, dy))

    return activity.among(weights, active, spikes, dy)


# A convolution and its two gradients are the gradients of each other, and so are a matrix product and its gradients.
_conv: Product = _bilinear(
    _convolution,
    lambda x, kernel, active, dy, at: (_input_gradient(dy, kernel, None, at), _weight_gradient(x, dy, active, at)),
)
_input_gradient: Product = _bilinear(
    _input_gradient_of,
    lambda dy, kernel, _, ddx, at: (_conv(ddx, kernel, None, at), _weight_gradient(ddx, dy, None, at)),
)
_weight_gradient: Product = _bilinear(
    _weight_gradient_of,
    lambda x, dy, active, dkernel, at: (_input_gradient(dy, dkernel, None, at), _conv(x, dkernel, active, at)),
)
_linear: Product = _bilinear(
    _product,
    lambda spikes, kernel, active, dy, _: (matmul(dy, kernel.T), _product_gradient(spikes, dy, active, None)),
)
_product_gradient: Product = _bilinear(
    _product_gradient_of,
    lambda spikes, dy, active, dkernel, _: (matmul(dy, dkernel.T), _linear(spikes, dkernel, active, None)),
)


def _input_gradient_autodiff(geometry: Geometry, dy: Array, kernel: Array) -> Array:
    x = jnp.zeros((len(dy), geometry.height, geometry.width, kernel.shape[2]), dy.dtype)
    return jax.vjp(lambda x: _convolve(x, kernel, geometry.stride, geometry.padding), x)[1](dy)[0]


def _weight_gradient_autodiff(geometry: Geometry, x: Array, dy: Array, active: ActiveChannels | None) -> Array:
    del active
    k = geometry.kernel_size
    kernel = jnp.zeros((k, k, x.shape[-1], dy.shape[-1]), dy.dtype)
    return jax.vjp(lambda kernel: _convolve(x, kernel, geometry.stride, geometry.padding), kernel)[1](dy)[0]


def _dilated(geometry: Geometry, dy: Array) -> Array:
    """dL/dy as of a convolution with stride 1: positions that a larger stride skips have a gradient of 0."""
    size, stride, padding, *input_shape = geometry
    if stride == 1:
        return dy
    skipped = [
        (0, n + 2 * padding - size - stride * (m - 1), stride - 1)
        for n, m in zip(input_shape, dy.shape[1:3], strict=True)
    ]
    return lax.pad(dy, jnp.zeros((), dy.dtype), ((0, 0, 0), *skipped, (0, 0, 0)))


def _input_gradient_cpu(geometry: Geometry, dy: Array, kernel: Array) -> Array:
    """As a forward convolution."""
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return _convolve(_dilated(geometry, dy), flipped, 1, geometry.kernel_size - 1 - geometry.padding)


def _weight_gradient_cpu(geometry: Geometry, x: Array, dy: Array, active: ActiveChannels | None) -> Array:
    """As a matrix product over shifted copies of x."""
    k, inputs, dy = geometry.kernel_size, x.shape[-1], _dilated(geometry, dy)

    def weights(on: Array | slice, x: Array, dy: Array) -> Array:
        x = x[..., on] if active is None else x[..., on].astype(jnp.uint8)
        gradient = conv_weight_gradient(x, dy, k, geometry.padding)
        return jnp.zeros((k, k, inputs, dy.shape[-1]), dy.dtype).at[:, :, on].set(gradient)

    return activity.among(weights, active, x, dy)


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


def max_pool(x: Array, bias: Array, pool: Pooling) -> Array:
    """Max-pool of x + bias; the gradient goes to the first maximum of a window in row-major order, as in torch.

    From x [batch, height, width, channels] and bias [channels] to [batch, rows, columns, channels]. Incomplete windows
    at the edges are dropped, as in torch. (`jnp.max` would split the gradient among ties, which are common with binary
    spikes.) The bias is added here because its gradient is cheaper to compute after pooling.
    """
    return maxima(x, bias, pool)[0]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
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


def _maxima_forward(x: Array, bias: Array, pool: Pooling) -> tuple[tuple[Array, Array], tuple[Array, tuple[int, ...]]]:
    top, winner = maxima(x, bias, pool)
    return (top, winner), (checkpoint_name(winner, "winner"), x.shape[1:3])


def _maxima_backward(
    pool: Pooling, saved: tuple[Array, tuple[int, ...]], cotangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (winner, shape), (dy, _) = saved, cotangents
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


maxima.defvjp(_maxima_forward, _maxima_backward)


def pool(x: Array, bias: Array, pooling: Pooling) -> Array:
    """Pools x + bias: the maximum, sum or average of every window; incomplete windows are dropped.

    From x [batch, height, width, channels] and bias [channels] to [batch, rows, columns, channels].
    """
    if pooling.kind == "max":
        return max_pool(x, bias, pooling)
    total = functools.reduce(operator.add, _members(x + bias, pooling))
    return total / pooling.window if pooling.kind == "avg" else total
