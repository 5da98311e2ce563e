"""The optimizer, a chain of optax transformations. The learning rate isn't part of it; it's passed to every update.

Every product is rounded before it's added to anything (`rounding.rounded`). optax's own transformations leave that to
the compiler, which uses fused multiply-adds on some processors, and not always for the same product.
`csnn_torch/optimizer.py` computes the same with torch's optimizers.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from csnn_jax.config import TrainConfig
from csnn_jax.network.rounding import rounded
from csnn_jax.update.objective import AddUp


def make(config: TrainConfig, add_up: AddUp = jnp.sum) -> optax.GradientTransformation:
    """Makes the transformation from a gradient to an update, which the caller multiplies by the learning rate.

    It clips the gradient (`clipped`), adds the decayed weights for adam and sgd, applies the optimizer, and then adds
    the decayed weights for adamw. Constants are torch's.
    """
    parts = [clipped(config.clip_norm, add_up)] if config.clip_norm else []
    decay = [with_decayed_weights(config.decay)] if config.decay else []
    momentum = [with_momentum(config.momentum)] if config.momentum else []
    direction = momentum if config.optimizer == "sgd" else [adam()]
    parts += [*direction, *decay] if config.optimizer == "adamw" else [*decay, *direction]
    return optax.chain(*parts, optax.scale(-1.0))


def clipped(limit: float, add_up: AddUp = jnp.sum) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm`, with `add_up` for its sums."""

    def clip(gradients: Any, params: Any = None) -> Any:
        del params
        norm = jnp.sqrt(sum(add_up(leaf * leaf) for leaf in jax.tree.leaves(gradients)))
        return jax.tree.map(lambda leaf: jnp.where(norm < limit, leaf, rounded(leaf / norm * limit)), gradients)

    return optax.stateless(clip)


def zeros(params: Any) -> Any:
    """Zeros like the parameters, in NumPy: JAX would compile a program for every shape."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)


class Adam(NamedTuple):
    """Adam's moments, and the powers of its two decay rates for bias correction."""

    powers: Any
    first: Any
    second: Any


def adam(rates: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8) -> optax.GradientTransformation:
    """`optax.scale_by_adam`."""

    def start(params: Any) -> Adam:
        return Adam(np.ones(2, jax.tree.leaves(params)[0].dtype), zeros(params), zeros(params))

    def update(gradients: Any, state: Adam, params: Any = None) -> tuple[Any, Adam]:
        del params

        def mean(rate: float, old: Any, new: Any) -> Any:
            return rounded(rate * old) + rounded((1 - rate) * new)

        squares = jax.tree.map(lambda leaf: leaf * leaf, gradients)
        first = jax.tree.map(partial(mean, rates[0]), state.first, gradients)
        second = jax.tree.map(partial(mean, rates[1]), state.second, squares)
        powers = rounded(state.powers * jnp.asarray(rates, state.powers.dtype))
        biased = 1 - powers

        def direction(first: Any, second: Any) -> Any:
            return first / biased[0] / (jnp.sqrt(second / biased[1]) + epsilon)

        return jax.tree.map(direction, first, second), Adam(powers, first, second)

    return optax.GradientTransformation(start, update)


def with_momentum(share: float) -> optax.GradientTransformation:
    """`optax.trace`."""

    def start(params: Any) -> Any:
        return zeros(params)

    def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        traces = jax.tree.map(lambda leaf, trace: leaf + rounded(share * trace), gradients, state)
        return traces, traces

    return optax.GradientTransformation(start, update)


def with_decayed_weights(share: float) -> optax.GradientTransformation:
    """`optax.add_decayed_weights` for kernels only: biases have one dimension, betas and thresholds none."""

    def add(updates: Any, params: Any) -> Any:
        return jax.tree.map(lambda leaf, p: leaf + rounded(share * p) if p.ndim > 1 else leaf, updates, params)

    return optax.stateless(add)
