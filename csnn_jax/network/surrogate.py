"""The spike function and its surrogate derivatives for the backward pass.

The forward pass is always the Heaviside step S = H(x), x = U - threshold, with H(x) = 1 if x > 0 (strictly) and 0
otherwise. A derivative is any JAX function of x. Those below are snnTorch's (as the code in `snntorch/surrogate.py`
computes them, which differs from its docstrings), with snnTorch's default slope unless another one is given.

References:
    Neftci, Mostafa, Zenke, "Surrogate gradient learning in spiking neural networks", 2019.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from csnn_jax.network.rounding import exp, rounded

Derivative = Callable[[Array], Array]


@contextlib.contextmanager
def reverse_mode_only() -> Iterator[None]:
    """Explains JAX's error about forward mode, which it raises where a `custom_vjp` runs outside `jax.jit`."""
    try:
        yield
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        forward, hessian = "jax.jvp, jax.jacfwd, jax.hessian", "jax.jacrev(jax.grad(f)) on the scan engine"
        raise TypeError(f"forward mode ({forward}) isn't supported; use jax.grad or jax.vjp, or {hessian}") from None


@reverse_mode_only()
def spike(x: Array, derivative: Derivative) -> Array:
    """S = H(x), with `derivative(x)` as its gradient, in reverse mode only: `jax.jvp` has no rule for it.

    Args:
        x: membrane minus threshold, any shape.
        derivative: dS/dx as a function of x, elementwise.

    Returns:
        Spikes, 0 or 1, with the shape and type of x.

    Raises:
        ValueError: the derivative isn't a function, or returns no array with the shape of x.
        TypeError: `jax.jvp` or similar differentiates it.

    Examples:
        >>> import jax
        >>> from csnn_jax import spike
        >>> x = jax.numpy.array([-0.5, 0.25, 2.0])
        >>> spikes, backward = jax.vjp(lambda x: spike(x, lambda x: jax.nn.relu(1 - abs(x))), x)
        >>> spikes.tolist(), backward(jax.numpy.ones(3))[0].tolist()
        ([0.0, 1.0, 1.0], [0.5, 0.75, 0.0])
    """
    if not callable(derivative):
        raise ValueError(f"derivative is {derivative!r}, expected a function of U - threshold, such as surrogate.atan")
    return _spike(x, derivative)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _spike(x: Array, derivative: Derivative) -> Array:
    del derivative
    return (x > 0).astype(x.dtype)


def _spike_forward(x: Array, derivative: Derivative) -> tuple[Array, Array]:
    return _spike(x, derivative), x


def _spike_backward(derivative: Derivative, x: Array, cotangent: Array) -> tuple[Array]:
    return (cotangent * evaluated(derivative, x),)


_spike.defvjp(_spike_forward, _spike_backward)


def evaluated(derivative: Derivative, x: Array) -> Array:
    """derivative(x) with the shape and type of x; a number stands for a constant derivative.

    Raises:
        ValueError: the derivative has another shape, or isn't an array.
    """
    slope = derivative(x)
    try:
        slope = jnp.asarray(slope).astype(x.dtype)
    except (TypeError, ValueError):
        kind = type(slope).__name__
        raise ValueError(f"derivative returned a {kind} for x {list(x.shape)}, expected the same shape") from None
    if slope.shape not in ((), x.shape):
        raise ValueError(f"derivative returned {list(slope.shape)} for x {list(x.shape)}, expected the same shape")
    return jnp.broadcast_to(slope, x.shape)


def fast_sigmoid(x: Array, slope: float = 25.0) -> Array:
    """1 / (k |x| + 1)^2. Zenke & Ganguli, "SuperSpike", 2018; snnTorch `fast_sigmoid`."""
    return 1 / (rounded(slope * jnp.abs(x)) + 1) ** 2


def atan(x: Array, slope: float = 2.0) -> Array:
    """(alpha / 2) / (1 + (pi / 2 alpha x)^2). Fang et al. 2021; snnTorch `atan`."""
    return (slope / 2) / (1 + rounded((jnp.pi / 2 * slope * x) ** 2))


def sigmoid(x: Array, slope: float = 25.0) -> Array:
    """k e^-kx / (e^-kx + 1)^2, written in a form that never overflows; snnTorch `sigmoid`."""
    decay = exp(-slope * jnp.abs(x))  # the formula is even in x
    return slope * decay / (1 + decay) ** 2


def straight_through(x: Array) -> Array:
    """The constant 1. Bengio et al. 2013; snnTorch `straight_through_estimator`."""
    return jnp.ones_like(x)


def triangular(x: Array, slope: float = 1.0) -> Array:
    """+threshold where x < 0, otherwise -threshold; snnTorch `triangular` as in its code."""
    return jnp.where(x < 0, slope, -slope).astype(x.dtype)


def heaviside(x: Array) -> Array:
    """H(x). snnTorch `Heaviside`."""
    return (x > 0).astype(x.dtype)


def spike_rate_escape(x: Array, slope: float = 25.0, decay: float = 1.0) -> Array:
    """k exp(-beta |x - 1|). Gerstner & Kistler 2002; snnTorch `spike_rate_escape`."""
    return slope * exp(-decay * jnp.abs(x - 1))


def sparse_fast_sigmoid(x: Array, slope: float = 25.0, bound: float = 1.0) -> Array:
    """1 / (k |x| + 1)^2 where x > B, otherwise 0. Perez-Nieves & Goodman 2021; snnTorch `SFS`."""
    return jnp.where(x > bound, fast_sigmoid(x, slope), 0)


def leaky_spike(x: Array, slope: float = 0.1) -> Array:
    """1 where x > 0, otherwise k; snnTorch `LSO`."""
    return jnp.where(x > 0, 1, slope).astype(x.dtype)


BY_NAME: dict[str, Callable[..., Array]] = {
    f.__name__: f
    for f in (
        fast_sigmoid,
        atan,
        sigmoid,
        straight_through,
        triangular,
        heaviside,
        spike_rate_escape,
        sparse_fast_sigmoid,
        leaky_spike,
    )
}


def named(derivative: Derivative) -> tuple[str | None, float]:
    """(name, slope) of one of `BY_NAME`, with any slope; (None, 0) for other derivatives."""
    bare, slope = derivative, None
    if isinstance(derivative, partial) and not derivative.args and set(derivative.keywords) == {"slope"}:
        bare, slope = derivative.func, derivative.keywords["slope"]
    for name, function in BY_NAME.items():
        if function is bare:
            default = (bare.__defaults__ or (0.0,))[0]
            return name, float(default if slope is None else slope)
    return None, 0.0
