"""Arithmetic that gives the same bits wherever it's compiled.

Compilers fuse a product and a sum into one multiply-add, on some processors and not always for the same product, and
XLA's exponentials and logarithms are polynomials that change with its version. Here, a product is rounded before it's
added to anything. Don't divide by a constant: XLA multiplies by its inverse instead, but only in some places.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from csnn_jax.network.floats import frexp, ldexp

HIGH, LOW = 355 / 512, -2.121944400546905827679e-4
"""The logarithm of 2 in two parts: small whole multiples of the first are exact."""


@jax.custom_jvp
def rounded(product: Array) -> Array:
    """The product, rounded before anything is added to it, as in torch.

    A maximum keeps the compiler from fusing the two; its gradient is 1. It turns -infinity into the lowest number, so
    check for infinities first.
    """
    return jnp.maximum(product, jnp.finfo(product.dtype).min)


@rounded.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return rounded(*primals), tangents[0]


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def scaled(x: Array, factor: float) -> Array:
    """factor * x, rounded before anything is added to it, and so is its gradient."""
    return rounded(factor * x)


scaled.defvjp(lambda x, factor: (scaled(x, factor), None), lambda factor, _, cotangent: (scaled(cotangent, factor),))


def exp(x: Array) -> Array:
    """e^x for x <= 0, within 2 units in the last place; 0 below e^-87, or e^-708 in float64.

    It's 2^k e^r with a whole k and a Taylor series for r in +-ln(2)/2.
    """
    lowest, terms = (-87.0, 9) if x.dtype == jnp.float32 else (-708.0, 15)
    least, x = x < lowest, jnp.where(x < lowest, lowest, x)
    k = jnp.round(x * (1 / math.log(2)))
    r = (x - rounded(k * HIGH)) - rounded(k * LOW)
    power = rounded(ldexp(_polynomial(r, [1 / math.factorial(n) for n in range(terms)]), k))
    return jnp.where(least, 0, power)


def log(x: Array) -> Array:
    """ln(x) for x >= 1, within 3 units in the last place.

    x is m 2^k with a whole k and m from sqrt(1/2) to sqrt(2), and ln(m) is 2 atanh((m - 1) / (m + 1)), a series.
    """
    terms = 7 if x.dtype == jnp.float32 else 13
    m, k = frexp(x)
    small = m < math.sqrt(0.5)
    m, k = jnp.where(small, 2 * m, m), (k - small).astype(x.dtype)
    s = (m - 1) / (m + 1)
    of_m = rounded(2 * s * _polynomial(s * s, [1 / (2 * n + 1) for n in range(terms)]))
    return jnp.where(x < math.inf, rounded(k * HIGH) + (of_m + rounded(k * LOW)), x)


def _polynomial(x: Array, coefficients: list[float]) -> Array:
    """The sum of coefficients[n] x^n."""
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = coefficient + rounded(value * x)
    return value
